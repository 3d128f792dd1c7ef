// grpc-go with stubs that protoc-gen-go and protoc-gen-go-grpc made; see load_tests/clients/task.py.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"clients/inference"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

type task struct {
	Address  string
	Unknown  string
	Requests map[string]json.RawMessage
}

func tell(step string, told map[string]any) {
	line, _ := json.Marshal(told)
	fmt.Printf("{\"step\": %q, %s\n", step, line[1:])
}

func answer(step string, response proto.Message, err error) {
	if err != nil {
		tell(step, map[string]any{"failed": err.Error()})
		return
	}
	text, _ := protojson.Marshal(response)
	tell(step, map[string]any{"response": json.RawMessage(text)})
}

func main() {
	var given task
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		panic(err)
	}
	connection, err := grpc.NewClient(given.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := inference.NewGRPCInferenceServiceClient(connection)

	metadata, err := client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: "digits"})
	answer("metadata", metadata, err)
	config, err := client.ModelConfig(ctx, &inference.ModelConfigRequest{Name: "digits"})
	answer("config", config, err)
	health, err := grpc_health_v1.NewHealthClient(connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	tell("health", map[string]any{"ready": err == nil && health.Status == grpc_health_v1.HealthCheckResponse_SERVING})
	for _, step := range []string{"numbers", "strings"} {
		request := &inference.ModelInferRequest{}
		if err := protojson.Unmarshal(given.Requests[step], request); err != nil {
			panic(err)
		}
		response, err := client.ModelInfer(ctx, request)
		answer(step, response, err)
	}
	_, err = client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: given.Unknown})
	tell("error", map[string]any{"code": status.Code(err).String(), "text": status.Convert(err).Message()})
}

// grpc-java with stubs that protoc made; see load_tests/clients/task.py.

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.MessageOrBuilder;
import com.google.protobuf.util.JsonFormat;
import inference.GRPCInferenceServiceGrpc;
import inference.Inference.ModelConfigRequest;
import inference.Inference.ModelInferRequest;
import inference.Inference.ModelMetadataRequest;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import java.io.InputStreamReader;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

public final class Client {
  private static final Gson GSON = new Gson();

  private static void tell(String step, JsonObject told) {
    System.out.println("{\"step\": \"" + step + "\", " + GSON.toJson(told).substring(1));
  }

  private static void answer(String step, Callable<MessageOrBuilder> call) throws Exception {
    JsonObject told = new JsonObject();
    try {
      String text = JsonFormat.printer().omittingInsignificantWhitespace().print(call.call());
      told.add("response", JsonParser.parseString(text));
    } catch (StatusRuntimeException error) {
      told.addProperty("failed", error.toString());
    }
    tell(step, told);
  }

  public static void main(String[] arguments) throws Exception {
    JsonObject task = JsonParser.parseReader(new InputStreamReader(System.in)).getAsJsonObject();
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(task.get("address").getAsString()).usePlaintext().build();
    GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub stub =
        GRPCInferenceServiceGrpc.newBlockingStub(channel).withDeadlineAfter(20, TimeUnit.SECONDS);

    answer("metadata", () -> stub.modelMetadata(ModelMetadataRequest.newBuilder().setName("digits").build()));
    answer("config", () -> stub.modelConfig(ModelConfigRequest.newBuilder().setName("digits").build()));
    JsonObject health = new JsonObject();
    health.addProperty(
        "ready",
        HealthGrpc.newBlockingStub(channel).check(HealthCheckRequest.getDefaultInstance()).getStatus()
            == ServingStatus.SERVING);
    tell("health", health);
    for (String step : new String[] {"numbers", "strings"}) {
      ModelInferRequest.Builder request = ModelInferRequest.newBuilder();
      JsonFormat.parser().merge(task.getAsJsonObject("requests").get(step).toString(), request);
      answer(step, () -> stub.modelInfer(request.build()));
    }
    JsonObject told = new JsonObject();
    try {
      stub.modelMetadata(
          ModelMetadataRequest.newBuilder().setName(task.get("unknown").getAsString()).build());
      told.addProperty("failed", "there was none");
    } catch (StatusRuntimeException error) {
      told.addProperty("code", error.getStatus().getCode().name());
      told.addProperty("text", error.getStatus().getDescription());
    }
    tell("error", told);
    channel.shutdownNow();
  }
}

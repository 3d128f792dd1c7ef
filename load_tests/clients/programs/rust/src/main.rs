// triton-client on tonic; see load_tests/clients/task.py.

use base64::{engine::general_purpose::STANDARD, Engine};
use serde_json::{json, Value};
use std::io::Read;
use triton_client::client::Error;
use triton_client::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use triton_client::inference::{
    InferTensorContents, ModelConfigRequest, ModelInferRequest, ModelInferResponse,
    ModelMetadataRequest,
};
use triton_client::Client;

fn tell(step: &str, told: Value) {
    let text = told.to_string();
    println!("{{\"step\": \"{step}\", {}", &text[1..]);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A request from protobuf's JSON, which prost does not read.
fn request(given: &Value) -> ModelInferRequest {
    let given_inputs = list(&given["inputs"]);
    let inputs = given_inputs.iter().map(|input| {
        let contents = &input["contents"];
        InferInputTensor {
            name: text(&input["name"]),
            datatype: text(&input["datatype"]),
            shape: list(&input["shape"]).iter().map(|n| text(n).parse().unwrap()).collect(),
            contents: Some(InferTensorContents {
                fp32_contents: list(&contents["fp32Contents"]).iter().map(|x| x.as_f64().unwrap() as f32).collect(),
                int64_contents: list(&contents["int64Contents"]).iter().map(|x| text(x).parse().unwrap()).collect(),
                bytes_contents: list(&contents["bytesContents"]).iter().map(|x| STANDARD.decode(text(x)).unwrap()).collect(),
                ..Default::default()
            }),
            ..Default::default()
        }
    });
    let outputs = list(&given["outputs"]).iter().map(|output| InferRequestedOutputTensor {
        name: text(&output["name"]),
        ..Default::default()
    }).collect();
    ModelInferRequest { model_name: text(&given["modelName"]), inputs: inputs.collect(), outputs, ..Default::default() }
}

fn answer(step: &str, result: Result<Value, Error>) {
    match result {
        Ok(response) => tell(step, json!({ "response": response })),
        Err(error) => tell(step, json!({ "failed": format!("{error:?}") })),
    }
}

fn inferred(response: ModelInferResponse) -> Value {
    json!({
        "outputs": response.outputs.iter().map(|o| json!({"name": o.name, "datatype": o.datatype})).collect::<Vec<_>>(),
        "rawOutputContents": response.raw_output_contents.iter().map(|raw| STANDARD.encode(raw)).collect::<Vec<_>>(),
    })
}

fn named<T>(tensors: &[T], name: impl Fn(&T) -> &String) -> Vec<Value> {
    tensors.iter().map(|tensor| json!({ "name": name(tensor) })).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut given = String::new();
    std::io::stdin().read_to_string(&mut given).unwrap();
    let task: Value = serde_json::from_str(&given).unwrap();
    let url = format!("http://{}/", text(&task["address"]));
    let client = Client::new(url.as_str(), None).await.unwrap();

    let metadata = ModelMetadataRequest { name: "digits".into(), ..Default::default() };
    answer("metadata", client.model_metadata(metadata).await.map(|found| {
        json!({"inputs": named(&found.inputs, |t| &t.name), "outputs": named(&found.outputs, |t| &t.name)})
    }));
    let config = ModelConfigRequest { name: "digits".into(), ..Default::default() };
    answer("config", client.model_config(config).await.map(|found| {
        let config = found.config.unwrap_or_default();
        json!({"config": {"input": named(&config.input, |t| &t.name), "output": named(&config.output, |t| &t.name)}})
    }));
    tell("health", json!({ "ready": client.server_ready().await.map(|found| found.ready).unwrap_or(false) }));
    for step in ["numbers", "strings"] {
        answer(step, client.model_infer(request(&task["requests"][step])).await.map(inferred));
    }
    let unknown = ModelMetadataRequest { name: text(&task["unknown"]), ..Default::default() };
    match client.model_metadata(unknown).await {
        Err(Error::ResponseError(status)) => tell("error", json!({"code": format!("{:?}", status.code()), "text": status.message()})),
        other => tell("error", json!({ "failed": format!("{other:?}") })),
    }
}

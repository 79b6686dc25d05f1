//! Traces: what a real server gives to a collector, read by OpenTelemetry's own schema; a collector that is away or does
//! not like what it gets holds nothing up.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use boardhand::clock::Clock;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::console_real::rig::{free_port, from_pypi};
use crate::lab::{ADMIN_TOKEN, WITHIN, yaml};

/// A collector: what it was given with which header, and what it answers next.
#[derive(Clone, Default)]
struct Collector {
    given: Arc<Mutex<Vec<Value>>>,
    answers: Arc<Mutex<Vec<u16>>>,
    tries: Arc<Mutex<usize>>,
}

impl Collector {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/v1/traces", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn spans(&self) -> Vec<Value> {
        let given = self.given.lock().expect("a lock").clone();
        let spans = given.iter().map(|body| &body["resourceSpans"][0]["scopeSpans"][0]["spans"]);
        spans.flat_map(|spans| spans.as_array().expect("spans").clone()).collect()
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: String) -> StatusCode {
    assert_eq!(headers["authorization"], "Bearer s3cret");
    *collector.tries.lock().expect("a lock") += 1;
    let status = collector.answers.lock().expect("a lock").pop().unwrap_or(200);
    if status == 200 {
        collector.given.lock().expect("a lock").push(serde_json::from_str(&body).expect("JSON"));
    }
    StatusCode::from_u16(status).expect("a status")
}

/// The real server, with a collector.
struct Server {
    child: Child,
    url: String,
    clock: Clock,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start(collector: &str) -> Server {
        let (clock, folder) = (Clock::system(), tempfile::tempdir().expect("a folder"));
        std::fs::write(folder.path().join("boards.yaml"), yaml::small(1)).expect("a lab file");
        let listen = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_boardhand"))
            .args(["serve", "--simulate"])
            .env_clear()
            .current_dir(folder.path())
            .env("BOARDHAND_LISTEN", &listen)
            .env("BOARDHAND_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
            .env("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20s3cret")
            .env("OTEL_SERVICE_NAME", "lab-a")
            .stdin(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let server = Server { child, url: format!("http://{listen}"), clock, folder };
        server.until(|server| server.log().contains("serving").then_some(())).await;
        server
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("the log")
    }

    async fn until<T>(&self, found: impl Fn(&Server) -> Option<T>) -> T {
        let looked = async {
            loop {
                if let Some(found) = found(self) {
                    return found;
                }
                self.clock.sleep(Duration::from_millis(20)).await;
            }
        };
        self.clock.timeout(WITHIN, looked).await.unwrap_or_else(|_| panic!("never:\n{}", self.log()))
    }

    async fn run(&self, build: &str) -> Option<i32> {
        let mut run = Command::new(env!("CARGO_BIN_EXE_boardhand"));
        run.args(["run", "socA", build, "--wait"]).current_dir(self.folder.path());
        run.env("BOARDHAND_SERVER", &self.url).env("BOARDHAND_TOKEN", ADMIN_TOKEN);
        run.output().await.expect("the program runs").status.code()
    }
}

fn attribute<'s>(span: &'s Value, key: &str) -> &'s Value {
    let all = span["attributes"].as_array().expect("attributes");
    all.iter().find(|one| one["key"] == key).map_or(&Value::Null, |one| &one["value"])
}

/// Reads a request as the schema of OpenTelemetry has it: an unknown name or a wrong type ends it. Protobuf's JSON writes ids
/// in base64, where OTLP's has them in hex.
const ORACLE: &str = r#"
import base64, json, sys
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
body = json.load(sys.stdin)
for resource in body["resourceSpans"]:
    for scope in resource["scopeSpans"]:
        for span in scope["spans"]:
            for key, size in (("traceId", 16), ("spanId", 8), ("parentSpanId", 8)):
                raw = bytes.fromhex(span[key])
                assert len(raw) in (size, 0 if key == "parentSpanId" else size), key
                span[key] = base64.b64encode(raw).decode()
request = json_format.ParseDict(body, ExportTraceServiceRequest())
for resource in request.resource_spans:
    for scope in resource.scope_spans:
        for span in scope.spans:
            assert span.end_time_unix_nano >= span.start_time_unix_nano > 0, span
            print(span.name)
"#;

async fn read_by_opentelemetry(body: &Value) -> Vec<String> {
    let python =
        tokio::task::spawn_blocking(|| from_pypi("otlp", "opentelemetry-proto==1.38.0", "python")).await;
    let mut oracle = Command::new(python.expect("an environment"));
    oracle.args(["-c", ORACLE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut oracle = oracle.spawn().expect("python");
    let mut stdin = oracle.stdin.take().expect("is piped");
    stdin.write_all(body.to_string().as_bytes()).await.expect("written");
    drop(stdin);
    let said = oracle.wait_with_output().await.expect("an answer");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_run_is_a_trace_that_opentelemetry_reads() {
    let collector = Collector::default();
    let server = Server::start(&collector.start().await).await;
    assert_eq!(server.run("build-123").await, Some(0));
    assert_eq!(server.run("build-fail").await, Some(1));
    let runs = |spans: &[Value]| spans.iter().filter(|span| span["name"] == "run").count();
    server.until(|_| (runs(&collector.spans()) >= 2).then_some(())).await;
    let spans = collector.spans();
    let by_trace = spans.iter().fold(BTreeMap::<String, Vec<&Value>>::new(), |mut all, span| {
        all.entry(span["traceId"].to_string()).or_default().push(span);
        all
    });
    assert_eq!(by_trace.len(), 2, "{spans:?}");
    for spans in by_trace.values() {
        let root = spans.iter().find(|span| span["name"] == "run").expect("the whole");
        let named: Vec<&str> = spans.iter().filter_map(|span| span["name"].as_str()).collect();
        for name in ["queued", "attempt", "powering", "booting", "testing", "finalizing"] {
            assert!(named.contains(&name), "{name}: {named:?}");
        }
        let attempt = spans.iter().find(|span| span["name"] == "attempt").expect("an attempt");
        assert_eq!((&attempt["parentSpanId"], &root["parentSpanId"]), (&root["spanId"], &json!("")));
        assert_eq!(attribute(attempt, "boardhand.board"), &json!({"stringValue": "soc-a-001"}));
        let ids: std::collections::BTreeSet<String> =
            spans.iter().map(|span| span["spanId"].to_string()).collect();
        assert_eq!(ids.len(), spans.len(), "each has its own id");
        let passed = attribute(root, "boardhand.verdict") == &json!({"stringValue": "passed"});
        assert_eq!(root["status"]["code"], if passed { Value::Null } else { json!(2) }, "{root}");
    }
    let body = collector.given.lock().expect("a lock")[0].clone();
    let service = &body["resourceSpans"][0]["resource"]["attributes"][0];
    assert_eq!(service, &json!({"key": "service.name", "value": {"stringValue": "lab-a"}}));
    let read = read_by_opentelemetry(&body).await;
    assert!(read.iter().any(|name| name == "run") && read.iter().any(|name| name == "booting"), "{read:?}");
    assert!(!server.log().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_in_trouble_gets_them_later_and_one_that_refuses_never() {
    let collector = Collector::default();
    // The last one comes first: away for a moment, then it does not like what it gets.
    *collector.answers.lock().expect("a lock") = vec![400, 503, 429];
    let mut server = Server::start(&collector.start().await).await;
    assert_eq!(server.run("build-123").await, Some(0));
    let tries = |at_least: usize| {
        let collector = collector.clone();
        move |_: &Server| (*collector.tries.lock().expect("a lock") >= at_least).then_some(())
    };
    server.until(tries(3)).await;
    assert_eq!(server.run("build-124").await, Some(0));
    server.until(|_| (!collector.spans().is_empty()).then_some(())).await;
    let numbers: Vec<Value> = collector
        .spans()
        .iter()
        .filter(|span| span["name"] == "run")
        .map(|span| attribute(span, "boardhand.run.number")["intValue"].clone())
        .collect();
    assert_eq!(numbers, [json!("2")], "what was refused is not given again");
    let pid = server.child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill").success());
    assert!(server.child.wait().await.expect("it ends").success());
}

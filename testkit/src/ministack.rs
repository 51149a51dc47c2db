//! An emulator of AWS on this machine: EventBridge and SQS as they work together.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;

use super::aws_environment;
use shared::config::Settings;

/// How long it may take to start on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// The emulator of this process: it goes with the process, however that ends.
static MINISTACK: LazyLock<Option<Ministack>> = LazyLock::new(|| {
    let Some(program) = find() else {
        // Not through `eprintln!`, which is caught while a test runs.
        let _ = std::io::stderr().write_all(
            b"\nNOT TESTED: EventBridge and SQS, since there is no `ministack`. Install it \
              (`pip install ministack==1.5.33` in a venv) and name its program in \
              VITRINA_MINISTACK.\n",
        );
        return None;
    };
    Some(Ministack::start(&program))
});

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running emulator.
#[derive(Debug)]
pub struct Ministack {
    pub endpoint: String,
    /// The shell that ends the emulator once nobody holds the other end of its standard input.
    _keeper: std::process::Child,
}

/// A bus, the queue that is fed from it, and the queue of its dead letters.
#[derive(Clone, Debug)]
pub struct Messaging {
    pub environment: SdkConfig,
    pub bus: String,
    pub queue: String,
    pub dead_letters: String,
}

/// What `VITRINA_MINISTACK` names, which must be there, else what is found by `PATH`.
fn find() -> Option<PathBuf> {
    let settings = Settings::from_env();
    if let Some(named) = settings.text("VITRINA_MINISTACK") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "VITRINA_MINISTACK names {}, which is no file", named.display());
        return Some(named);
    }
    let folders = std::env::split_paths(settings.text("PATH").unwrap_or_default());
    folders.map(|folder| folder.join("ministack")).find(|program| program.is_file())
}

impl Ministack {
    /// The emulator of this process; none where it is not installed, which is said once.
    pub fn of_this_process() -> Option<&'static Self> {
        MINISTACK.as_ref()
    }

    fn start(program: &std::path::Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let keeper = Command::new("sh")
            .args(["-c", "\"$0\" </dev/null & read -r _; kill -9 $!; wait $! 2>/dev/null"])
            .arg(program)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("IOT_MTLS_ENABLED", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{} does not listen", program.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { endpoint: format!("http://127.0.0.1:{port}"), _keeper: keeper }
    }

    /// A bus and queues of their own, connected as on AWS.
    pub async fn messaging(&self) -> Messaging {
        let environment = aws_environment(&self.endpoint);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let bus = format!("bus-{nth}");
        let events = aws_sdk_eventbridge::Client::new(&environment);
        let queues = aws_sdk_sqs::Client::new(&environment);
        events.create_event_bus().name(&bus).send().await.unwrap();
        let mut urls = Vec::new();
        for name in [format!("catalog-{nth}"), format!("catalog-{nth}-dead")] {
            let made = queues.create_queue().queue_name(name).send().await.unwrap();
            urls.push(made.queue_url.unwrap());
        }
        let attributes = queues
            .get_queue_attributes()
            .queue_url(&urls[0])
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .unwrap();
        let arn = attributes.attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
        let pattern = json!({"source": ["vitrina.inventory"]}).to_string();
        let rule = events.put_rule().name("catalog").event_bus_name(&bus).event_pattern(pattern);
        rule.send().await.unwrap();
        let target = Target::builder().id("catalog").arn(arn).build().unwrap();
        let targets = events.put_targets().rule("catalog").event_bus_name(&bus).targets(target);
        targets.send().await.unwrap();
        let dead_letters = urls.pop().unwrap();
        Messaging { environment, bus, queue: urls.pop().unwrap(), dead_letters }
    }
}

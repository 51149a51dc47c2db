//! An emulator of EventBridge and SQS on this machine.

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

use super::aws_environment;
use shared::bus::aws::{SqsConfig, SqsQueues};
use shared::config::Settings;
use shared::contract::routes::{self, Route};

/// Timeout of the start, on a machine that is busy with other tests.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The emulator of this process. It stops however the process ends.
static MINISTACK: LazyLock<Option<Ministack>> = LazyLock::new(|| {
    let Some(program) = find() else {
        // The test harness would capture the output of `eprintln!`.
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
    /// A shell that kills the emulator when the process ends and its standard input closes.
    _watchdog: std::process::Child,
}

/// A bus and the queues that its rules feed.
#[derive(Clone, Debug)]
pub struct Messaging {
    pub environment: SdkConfig,
    pub bus: String,
    queues: SqsQueues,
}

impl Messaging {
    /// The URLs of a queue and of its dead letters.
    pub fn queue(&self, name: &str) -> &SqsConfig {
        urls_of(&self.queues, name)
    }

    /// The URLs of every queue.
    pub fn queues(&self) -> SqsQueues {
        self.queues.clone()
    }
}

/// The program that `VITRINA_MINISTACK` names, which must exist, or the first one in `PATH`.
fn find() -> Option<PathBuf> {
    let settings = Settings::from_env();
    if let Some(named) = settings.text("VITRINA_MINISTACK") {
        let named = PathBuf::from(named);
        assert!(
            named.is_file(),
            "VITRINA_MINISTACK names {}, which is not a file",
            named.display()
        );
        return Some(named);
    }
    let folders = std::env::split_paths(settings.text("PATH").unwrap_or_default());
    folders.map(|folder| folder.join("ministack")).find(|program| program.is_file())
}

impl Ministack {
    /// The emulator of this process. `None` if it is not installed, which is reported once.
    pub fn of_this_process() -> Option<&'static Self> {
        MINISTACK.as_ref()
    }

    fn start(program: &std::path::Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let watchdog = Command::new("sh")
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
            assert!(begun.elapsed() < TIMEOUT, "{} does not listen", program.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { endpoint: format!("http://127.0.0.1:{port}"), _watchdog: watchdog }
    }

    /// Creates a private bus and its queues, connected by `routes` as on AWS.
    pub async fn messaging(&self, routes: &[Route]) -> Messaging {
        let environment = aws_environment(&self.endpoint);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let bus = format!("bus-{nth}");
        let events = aws_sdk_eventbridge::Client::new(&environment);
        events.create_event_bus().name(&bus).send().await.unwrap();
        let sqs = aws_sdk_sqs::Client::new(&environment);
        let mut queues = SqsQueues::new();
        for name in routes::queues(routes) {
            let queue = create_queue(&sqs, format!("{name}-{nth}")).await;
            let dead_letters = create_queue(&sqs, format!("{name}-{nth}-dead")).await;
            queues.push((name, SqsConfig { queue, dead_letters }));
        }
        for (nth, route) in routes.iter().enumerate() {
            let (rule, pattern) = (format!("route-{nth}"), route.event_pattern().to_string());
            let put = events.put_rule().name(&rule).event_bus_name(&bus).event_pattern(pattern);
            put.send().await.unwrap();
            let arn = arn_of(&sqs, &urls_of(&queues, route.queue).queue).await;
            let target = Target::builder().id(route.queue).arn(arn).build().unwrap();
            let put = events.put_targets().rule(rule).event_bus_name(&bus).targets(target);
            put.send().await.unwrap();
        }
        Messaging { environment, bus, queues }
    }
}

fn urls_of<'a>(queues: &'a SqsQueues, name: &str) -> &'a SqsConfig {
    let found = queues.iter().find(|(queue, _)| *queue == name);
    &found.unwrap_or_else(|| panic!("no route has the queue {name}")).1
}

/// Creates a queue and returns its URL.
async fn create_queue(sqs: &aws_sdk_sqs::Client, name: String) -> String {
    sqs.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap()
}

async fn arn_of(sqs: &aws_sdk_sqs::Client, url: &str) -> String {
    let name = QueueAttributeName::QueueArn;
    let call = sqs.get_queue_attributes().queue_url(url).attribute_names(name.clone());
    call.send().await.unwrap().attributes.unwrap()[&name].clone()
}

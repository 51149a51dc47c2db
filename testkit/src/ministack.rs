//! An emulator of EventBridge and SQS on this machine.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;

use super::{MAX_WAIT, aws_environment};
use shared::bus::aws::{SqsConfig, SqsQueues};
use shared::config::Settings;
use shared::contract::routes::{self, Route};

/// The emulator of this process, if it is installed. It stops however the process ends.
static MINISTACK: LazyLock<Option<Ministack>> =
    LazyLock::new(|| find().map(|program| Ministack::start(&program)));

/// Where `.ci/run` installs the emulator, in the folder of caches.
const INSTALLED: &str = "vitrina/ministack/bin/ministack";

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

/// The program that `VITRINA_MINISTACK` names, which must exist, or the first one in `PATH`, or the one
/// that `.ci/run` installed.
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
    let in_path = folders.map(|folder| folder.join("ministack"));
    let caches = settings.text("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(Path::new(settings.text("HOME")?).join(".cache")));
    let installed = caches.map(|folder| folder.join(INSTALLED));
    in_path.chain(installed).find(|program| program.is_file())
}

impl Ministack {
    /// The emulator of this process. Declare a test that needs it with [`emulator_tests!`].
    ///
    /// [`emulator_tests!`]: crate::emulator_tests
    ///
    /// # Panics
    /// If it is not installed.
    pub fn of_this_process() -> &'static Self {
        MINISTACK.as_ref().unwrap_or_else(|| {
            panic!(
                "this test needs the AWS emulator: install it (`pip install ministack==1.5.33` in a \
                 venv) and name its program in VITRINA_MINISTACK, or set \
                 VITRINA_TEST_WITHOUT_MINISTACK=1 to leave such tests out"
            )
        })
    }

    fn start(program: &Path) -> Self {
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
        // Real time: the limit ends a hang.
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < MAX_WAIT, "{} does not listen", program.display());
            // Real time: only a pause.
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

/// Declares tests that need the AWS emulator. Without it they fail, unless they were compiled with
/// `VITRINA_TEST_WITHOUT_MINISTACK=1`: then the harness counts them as ignored.
#[cfg(not(without_ministack))]
#[macro_export]
macro_rules! emulator_tests {
    ($(async fn $name:ident() $body:block)*) => {
        $(#[tokio::test]
        async fn $name() $body)*
    };
}

/// Declares tests that need the AWS emulator, which this machine lacks.
#[cfg(without_ministack)]
#[macro_export]
macro_rules! emulator_tests {
    ($(async fn $name:ident() $body:block)*) => {
        $(#[tokio::test]
        #[ignore = "no emulator: VITRINA_TEST_WITHOUT_MINISTACK=1"]
        async fn $name() $body)*
    };
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

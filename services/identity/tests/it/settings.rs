//! The settings of the program.

use identity::EXPENSIVE_PATHS;
use identity::config::Config;
use shared::config::Settings;

#[test]
fn program_limits_expensive_paths_in_every_role() {
    for role in ["api", "migrate"] {
        let pairs = [
            ("VITRINA_ROLE", role),
            ("DATABASE_URL", "postgres://127.0.0.1/vitrina"),
            ("VITRINA_AUTH_ISSUER", "https://issuer.example"),
            ("VITRINA_IDENTITY_KEY_FILE", "/var/lib/vitrina/key"),
            ("VITRINA_MAIL_DIRECTORY", "/var/mail/vitrina"),
        ];
        let mut settings = Settings::from_pairs(pairs);
        let config = Config::read(&mut settings);
        let config = format!("{:?}", settings.finish(config).unwrap());
        assert!(EXPENSIVE_PATHS.contains(&"/v1/auth/login"));
        let expected = format!("expensive_paths: {EXPENSIVE_PATHS:?}");
        assert!(config.contains(&expected), "{expected} in {config}");
    }
}

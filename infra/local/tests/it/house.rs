use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crates that are services: none may depend on another.
const SERVICES: [&str; 4] = ["inventory", "catalog", "sync", "identity"];

#[test]
fn services_depend_on_what_is_shared_and_never_on_each_other() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    // Besides the services: shared, testkit, vitrina, local-postgres, bench and xtask.
    assert_eq!(metadata.workspace_packages().len(), SERVICES.len() + 6, "is a crate missing here?");
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let inside = package.dependencies.iter().filter(|dependency| {
            dependency.path.is_some() && dependency.kind != DependencyKind::Development
        });
        for dependency in inside {
            let allowed = match name {
                "vitrina" | "bench" => true,
                "shared" | "local-postgres" => false,
                "testkit" => ["shared", "local-postgres"].contains(&dependency.name.as_str()),
                _ => dependency.name == "shared",
            };
            assert!(allowed, "{name} depends on {}", dependency.name);
        }
    }
}

#[test]
fn what_is_for_tests_is_in_no_program() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    for package in metadata.workspace_packages() {
        if package.name == "testkit" {
            continue;
        }
        let built = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
        for dependency in built {
            let has_points = dependency.features.iter().any(|feature| feature == "failpoints");
            assert!(!has_points, "{} is built with points to stop at", package.name);
            assert_ne!(dependency.name, "testkit", "{} is built with the testkit", package.name);
        }
    }
}

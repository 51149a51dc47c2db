use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crates that are services: none may depend on another.
const SERVICES: [&str; 4] = ["inventory", "catalog", "sync", "identity"];

#[test]
fn services_depend_on_what_is_shared_and_never_on_each_other() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    // The services, what they share, what runs them, what measures them, and what looks after all.
    assert_eq!(metadata.workspace_packages().len(), SERVICES.len() + 4, "is a crate missing here?");
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let inside = package.dependencies.iter().filter(|dependency| {
            dependency.path.is_some() && dependency.kind != DependencyKind::Development
        });
        for dependency in inside {
            let allowed = match name {
                "vitrina" | "bench" => true,
                "shared" => false,
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
        let built = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
        for dependency in built {
            let has_points = dependency.features.iter().any(|feature| feature == "testkit");
            assert!(!has_points, "{} is built with the testkit", package.name);
        }
    }
}

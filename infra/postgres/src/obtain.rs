//! How to install PostgreSQL on a machine without it.

use std::ffi::OsStr;

use super::search::{Search, program};

/// A package manager, its command that installs PostgreSQL, and the rights it needs.
const MANAGERS: [(&str, &str, Rights); 5] = [
    ("apt-get", "apt-get install -y postgresql", Rights::Root),
    ("dnf", "dnf install -y postgresql-server", Rights::Root),
    ("apk", "apk add postgresql", Rights::Root),
    ("pacman", "pacman -S --noconfirm postgresql", Rights::Root),
    ("brew", "brew install postgresql@17", Rights::AnyUser),
];
const MANAGER_PLACES: [&str; 7] = [
    "usr/bin",
    "bin",
    "usr/sbin",
    "sbin",
    "opt/homebrew/bin",
    "usr/local/bin",
    "home/linuxbrew/.linuxbrew/bin",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rights {
    Root,
    AnyUser,
}

/// Says in one line, as the end of a sentence, what to do. `root` is whether this process is root.
pub(super) fn advice(search: &Search, root: bool) -> String {
    let path = search.path.as_deref().unwrap_or(OsStr::new(""));
    let places: Vec<_> = std::env::split_paths(path)
        .filter(|entry| entry.is_absolute())
        .chain(MANAGER_PLACES.iter().map(|place| search.root.join(place)))
        .collect();
    let manager = MANAGERS
        .iter()
        .find(|(name, ..)| places.iter().any(|place| program(place, name).is_some()));
    match manager {
        Some((_, command, rights)) => {
            let sudo = if *rights == Rights::Root && !root { "sudo " } else { "" };
            format!(
                "run `{sudo}{command}`, or set DATABASE_URL to the address of a PostgreSQL server"
            )
        }
        None => "set DATABASE_URL to the address of a PostgreSQL server".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::binaries::{
            Binaries,
            tests::{beneath, put},
        },
        *,
    };

    #[test]
    fn advice_names_the_command_of_the_package_manager() {
        let root = tempfile::tempdir().unwrap();
        let commands = [
            ("usr/bin/apt-get", "apt-get install -y postgresql", true),
            ("usr/bin/dnf", "dnf install -y postgresql-server", true),
            ("sbin/apk", "apk add postgresql", true),
            ("usr/bin/pacman", "pacman -S --noconfirm postgresql", true),
            ("opt/homebrew/bin/brew", "brew install postgresql@17", false),
        ];
        for (manager, command, needs_root) in commands {
            put(root.path(), manager, "");
            let message = Binaries::find(&beneath(root.path())).unwrap_err().to_string();
            assert!(message.contains(command) && !message.contains('\n'), "{message}");
            assert!(advice(&beneath(root.path()), true).contains(&format!("`{command}`")));
            let prefixed =
                advice(&beneath(root.path()), false).contains(&format!("`sudo {command}`"));
            assert_eq!(prefixed, needs_root, "{command}");
            fs::remove_file(root.path().join(manager)).unwrap();
        }
        let message = Binaries::find(&beneath(root.path())).unwrap_err().to_string();
        assert!(message.contains("DATABASE_URL") && !message.contains("run `"), "{message}");
    }
}

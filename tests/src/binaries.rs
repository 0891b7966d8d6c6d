//! Finding the programs that tests start, with an error that says how to get a missing one. It reads the file system only.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The version of the `PyPI` wheel that carries `valkey-server`; `.ci/setup` installs the same one.
const VALKEY_WHEEL: &str = "9.1.2.post2";

/// The product's own binary `name`, built beside the test that asks (`target/<profile>/`), or in `POSTHOUSE_BIN_DIR`.
pub fn product(name: &str) -> Result<PathBuf> {
    let folder = match env::var_os("POSTHOUSE_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => profile_folder(&env::current_exe()?)?,
    };
    let path = folder.join(name);
    if !is_program(&path) {
        bail!("{} is not built: run `cargo build --workspace --bins` (or `make test`) first", path.display());
    }
    Ok(path)
}

/// A system program, from `PATH` or the folders where daemons live. `package` is what Debian calls the package that has it.
pub fn system(name: &str, package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| is_program(program))
        .with_context(|| format!("{name} is not installed: run `.ci/setup` or `apt-get install {package}`"))
}

/// `valkey-server`: `POSTHOUSE_VALKEY_SERVER`, else `PATH`, else where `.ci/setup` puts it under the user's cache folder.
pub fn valkey_server() -> Result<PathBuf> {
    if let Some(path) = env::var_os("POSTHOUSE_VALKEY_SERVER") {
        let path = PathBuf::from(path);
        if !is_program(&path) {
            bail!("POSTHOUSE_VALKEY_SERVER names {}, which is no program", path.display());
        }
        return Ok(path);
    }
    if let Ok(path) = system("valkey-server", "valkey-server") {
        return Ok(path);
    }
    let cached = cache_folder()?.join("posthouse/valkey").join(VALKEY_WHEEL).join("valkey-server");
    if !is_program(&cached) {
        bail!("valkey-server is not installed: run `.ci/setup`, or name one in POSTHOUSE_VALKEY_SERVER");
    }
    Ok(cached)
}

/// A program of a Debian package that `.ci/setup` only unpacks, because it conflicts with another one: `("opensmtpd", "usr/sbin/smtpd")`.
pub fn unpacked(package: &str, program: &str) -> Result<PathBuf> {
    let path = cache_folder()?.join("posthouse/debian").join(package).join(program);
    if !is_program(&path) {
        bail!("{package} is not unpacked: run `.ci/setup`");
    }
    Ok(path)
}

/// `etcd`, `kube-apiserver` or `kubectl`, as `tests/cluster/build.sh` (and so `.ci/setup`) builds them.
pub fn cluster(name: &str) -> Result<PathBuf> {
    let script = workspace().join("tests/cluster/build.sh");
    let output =
        std::process::Command::new(&script).arg("--folder").output().context("asking where they are")?;
    let path = PathBuf::from(String::from_utf8(output.stdout)?.trim()).join(name);
    if !is_program(&path) {
        bail!("{name} is not built: run `.ci/setup`, or {}", script.display());
    }
    Ok(path)
}

/// Copies a program, so that everybody can run it. Another process does: one that is forked from this one meanwhile, by another test, would have the
/// copy open for writing too, and then nobody can run it (ETXTBSY).
pub fn copy(program: &Path, to: &Path) -> Result<()> {
    let mut install = std::process::Command::new("install");
    let status = install.args(["-m", "755"]).arg(program).arg(to).status().context("install")?;
    ensure!(status.success(), "install ended with {status}");
    Ok(())
}

/// The root of the source tree.
#[must_use]
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// Where build results go that are not Cargo's own: `target/`, wherever that is.
pub fn target_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("CARGO_TARGET_DIR") {
        return Ok(PathBuf::from(folder));
    }
    Ok(workspace().join("target"))
}

fn profile_folder(exe: &Path) -> Result<PathBuf> {
    let folder = exe.parent().context("a program lies in a folder")?;
    // Test programs lie in `deps` below the profile's folder, binaries in it.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.to_path_buf())
}

fn cache_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    let home = env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache"))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_which_package_has_it() {
        let error = system("no-such-program", "no-such-package").unwrap_err();
        assert!(error.to_string().contains("apt-get install no-such-package"));
    }

    #[test]
    fn a_shell_is_found() {
        assert!(system("sh", "dash").is_ok());
    }
}

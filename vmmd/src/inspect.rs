//! What an image is, as the tender tells it. `vmmd` does not parse images itself: a program that
//! does nothing else looks at the hostile file, and its answer is all that comes back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use vmm_engine::Kind;
use vmm_proto::resource::DeviceName;

use crate::manifest::Declared;

/// How long the look may take.
const TIME: Duration = Duration::from_secs(10);

/// Bytes of an answer: a manifest has at most 63 devices.
const MAX_ANSWER: u64 = 256 << 10;

/// Bytes of a complaint that are passed on.
const MAX_COMPLAINT: u64 = 2 << 10;

/// The part of the tender's answer that matters here.
#[derive(Debug, Deserialize)]
struct Answer {
    kind: String,
    devices: Vec<Device>,
    runnable: bool,
    why_not: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Device {
    name: String,
    r#type: String,
}

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// Which machine it is built for.
    pub(crate) kind: Kind,
    /// The devices that it wants.
    pub(crate) declared: Declared,
}

/// Why an image is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// {0}
    #[error("{0}")]
    NotAnImage(String),
    /// this host cannot run the image: {0}
    #[error("this host cannot run the image: {0}")]
    NotRunnable(String),
    /// the image could not be looked at: {0:#}
    #[error("the image could not be looked at: {0:#}")]
    Failed(#[from] anyhow::Error),
}

/// Finds the tender: as given, or beside this program.
pub(crate) fn find_tender(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .context("cannot tell where this program is")?
            .with_file_name("vmm-tender"),
    };
    if !path.is_file() {
        bail!("there is no tender at {}; give its place with --tender", path.display());
    }
    Ok(path)
}

/// Asks `tender` what `image` is.
pub(crate) async fn inspect(tender: &Path, image: File) -> Result<Inspected, InspectError> {
    let mut child = tokio::process::Command::new(tender)
        // Its standard input is the image: the program needs no name of a file.
        .args(["inspect", "/proc/self/fd/0", "--format", "json"])
        .env_clear()
        .stdin(image)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", tender.display()))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(anyhow::anyhow!("no pipes to {}", tender.display()).into());
    };
    let (mut answer, mut complaint) = (String::new(), String::new());
    let all = async {
        let mut out = out.take(MAX_ANSWER);
        let mut err = err.take(MAX_COMPLAINT);
        tokio::try_join!(out.read_to_string(&mut answer), err.read_to_string(&mut complaint))?;
        child.wait().await
    };
    let status = tokio::time::timeout(TIME, all)
        .await
        .context("the tender took too long")?
        .context("the tender's answer could not be read")?;
    match status.code() {
        Some(0) => verdict(&answer),
        Some(1) => {
            let complaint = complaint.trim();
            let reason = complaint.strip_prefix("vmm-tender: ").unwrap_or(complaint);
            Err(InspectError::NotAnImage(reason.to_owned()))
        }
        _ => Err(anyhow::anyhow!("the tender ended with {status}: {}", complaint.trim()).into()),
    }
}

fn verdict(answer: &str) -> Result<Inspected, InspectError> {
    let answer: Answer =
        serde_json::from_str(answer).context("the tender's answer is not its JSON")?;
    let kind = match (answer.runnable, answer.kind.as_str()) {
        (true, "hvt") => Kind::Hvt,
        (true, "spt") => Kind::Spt,
        (true, other) => return Err(anyhow::anyhow!("unknown kind of image \"{other}\"").into()),
        (false, _) => {
            let why = answer.why_not.unwrap_or_else(|| "the tender does not say why".to_owned());
            let most = usize::try_from(MAX_COMPLAINT).unwrap_or(usize::MAX);
            return Err(InspectError::NotRunnable(why.chars().take(most).collect()));
        }
    };
    let mut declared = Declared::default();
    for Device { name, r#type } in answer.devices {
        let name = DeviceName::parse(&name).context("the tender's answer")?;
        match r#type.as_str() {
            "net" => declared.networks.insert(name),
            "block" => declared.volumes.insert(name),
            other => return Err(anyhow::anyhow!("unknown type of device \"{other}\"").into()),
        };
    }
    Ok(Inspected { kind, declared })
}

#[cfg(test)]
mod tests {
    use vmm_proto::resource::Devices;

    use super::*;

    #[test]
    fn the_verdict_has_the_kind_and_the_devices() {
        let answer = r#"{"kind":"hvt","abi":2,"devices":[{"name":"disk","type":"block"},
            {"name":"service","type":"net"}],"runnable":true,"why_not":null}"#;
        let inspected = verdict(answer).unwrap();
        let name = |name: &str| DeviceName::parse(name).unwrap();
        assert_eq!(inspected.kind, Kind::Hvt);
        assert!(inspected.declared.networks.iter().eq([&name("service")]));
        assert!(inspected.declared.volumes.iter().eq([&name("disk")]));
        assert!(inspected.declared.check(&Devices::default()).is_err());
    }

    #[test]
    fn what_the_tender_does_not_say_so_is_not_believed() {
        let refused = r#"{"kind":"spt","devices":[],"runnable":false,"why_not":"no KVM"}"#;
        let error = verdict(refused).unwrap_err();
        assert!(matches!(&error, InspectError::NotRunnable(why) if why == "no KVM"), "{error}");
        for strange in [
            r#"{"kind":"xen","devices":[],"runnable":true,"why_not":null}"#,
            r#"{"kind":"spt","runnable":true,"why_not":null}"#,
            r#"{"kind":"spt","devices":[{"name":"a","type":"tape"}],"runnable":true,"why_not":null}"#,
            r#"{"kind":"spt","devices":[{"name":"../a","type":"net"}],"runnable":true,"why_not":null}"#,
            "",
        ] {
            let error = verdict(strange).unwrap_err();
            assert!(matches!(error, InspectError::Failed(_)), "{strange}: {error}");
        }
    }
}

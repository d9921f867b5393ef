//! `cargo xtask demo` and `cargo xtask up`: the walkthrough, typed and checked.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::guests::build_guests;
use crate::house::{House, Programs};

/// The whole walkthrough in a fresh directory; with `stay`, the daemons go on afterwards until
/// Enter is pressed or standard input ends.
///
/// # Errors
/// When a step did not do what it should.
pub fn demo(root: &Path, stay: bool) -> Result<ExitCode> {
    println!("Building the programs and the sample unikernels …");
    let programs = Programs::build(root, false)?;
    build_guests(root)?;
    let dir = tempfile::Builder::new().prefix("vmm-demo-").tempdir()?;
    for guest in ["hello", "ticker"] {
        let name = format!("{guest}.spt");
        std::fs::copy(root.join("target/guests").join(&name), dir.path().join(&name))?;
    }
    let mut show = Show { house: House::new(programs, dir.path())? };
    println!("Everything happens in {}\n", dir.path().display());
    show.authority()?;
    show.daemons()?;
    show.delegation()?;
    show.leaves()?;
    show.deploy()?;
    show.look()?;
    show.over_quota()?;
    show.stop()?;
    show.take_back()?;
    if stay {
        show.stay()?;
    }
    show.house.stop()?;
    dir.close().context("the directory cannot be removed")?;
    println!("\nAll steps did what they should, and nothing of them is left.");
    Ok(ExitCode::SUCCESS)
}

struct Show {
    house: House,
}

impl Show {
    fn title(text: &str) {
        println!("\n── {text}");
    }

    /// Runs one command of the walkthrough, shows it and what came back, and checks its exit code.
    fn step(&self, who: &str, program: &str, arguments: &[&str], expected: i32) -> Result<String> {
        println!("{who}> {program} {}", arguments.join(" "));
        let output = self.house.run(program, arguments)?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        for line in out.lines().chain(err.lines()) {
            println!("     {line}");
        }
        ensure!(
            output.status.code() == Some(expected),
            "`{program} {}` ended with {}, not with exit code {expected}",
            arguments.join(" "),
            output.status
        );
        Ok(out)
    }

    fn client(&self, who: &str, arguments: &[&str], expected: i32) -> Result<String> {
        let server = self.house.server_arguments();
        let mut all: Vec<&str> = server.iter().map(String::as_str).collect();
        all.extend(["--bundle", who, "--key"]);
        let key = who.replace(".bundle", ".key");
        all.push(&key);
        all.extend(arguments);
        self.step("DEV", "vmm-client", &all, expected)
    }

    fn authority(&self) -> Result<()> {
        Self::title("1. CA: set up the authority (air-gapped)");
        let init = ["init", "ca", "ca.db", "--days", "3650", "--server", "localhost"];
        let server_days = ["--server-days", "365"];
        self.step("CA ", "vmm-ca", &[&init[..], &server_days].concat(), 0).map(drop)
    }

    fn daemons(&mut self) -> Result<()> {
        Self::title("2. SRV: start the daemons");
        for name in crate::house::DAEMONS {
            println!("SRV> {name} {} &", self.house.arguments(name).join(" "));
            self.house.start_with(name, &[])?;
        }
        Ok(())
    }

    fn delegation(&self) -> Result<()> {
        Self::title("3. DEV and CA: delegate 2 machines, 1024 MiB, CPU 0");
        let request = ["request", "delegation", "dev", "2", "1024", "--cpu", "0"];
        let bridge = ["--bridge", "ext/10.0.0.2/10.0.0.5/10.0.0.1/24"];
        self.step("DEV", "vmm-ca", &[&request[..], &bridge].concat(), 0)?;
        let sign = ["sign", "ca.db", "cacert.pem", "ca.key", "dev.req", "--days", "10"];
        self.step("CA ", "vmm-ca", &sign, 0)?;
        self.step("CA ", "vmm-ca", &["list", "ca.db"], 0).map(drop)
    }

    fn leaves(&self) -> Result<()> {
        Self::title("4. DEV: make leaves");
        let sign = |request| ["sign", "dev.db", "dev.bundle", "dev.key", request];
        let admin = ["request", "permissions", "admin", "--permission", "all"];
        self.step("DEV", "vmm-ca", &admin, 0)?;
        self.step("DEV", "vmm-ca", &sign("admin.req"), 0)?;
        let machine = ["request", "machine", "hello", "hello.spt", "512", "--cpu", "0"];
        let arguments = ["--", "--name=demo", "from", "a", "delegated", "share"];
        self.step("DEV", "vmm-ca", &[&machine[..], &arguments].concat(), 0)?;
        self.step("DEV", "vmm-ca", &sign("hello.req"), 0)?;
        self.step("DEV", "vmm-ca", &["inspect", "hello.bundle"], 0).map(drop)
    }

    fn deploy(&self) -> Result<()> {
        Self::title("5. DEV: deploy, look, stop");
        self.client("admin.bundle", &["quota"], 0)?;
        let deploy = ["deploy", "--image", "hello.spt", "--attach"];
        let output = self.client("hello.bundle", &deploy, 0)?;
        ensure!(output.contains("Hello from demo"), "the guest did not greet");
        ensure!(output.contains("delegated"), "the guest did not get its arguments");
        Ok(())
    }

    fn look(&self) -> Result<()> {
        self.client("admin.bundle", &["info"], 0)?;
        Self::title("One command with the delegation itself: it mints a leaf of minutes");
        let run = ["run", "tick", "ticker.spt", "--memory", "512", "--cpu", "0"];
        let arguments = ["--", "--every", "100"];
        self.client("dev.bundle", &[&run[..], &arguments].concat(), 0)?;
        self.watch_ticks()?;
        self.client("admin.bundle", &["statistics", "tick"], 0)?;
        let quota = self.client("admin.bundle", &["quota"], 0)?;
        ensure!(quota.contains("512"), "the quota does not show what runs");
        Ok(())
    }

    /// Attaches until the machine was seen to tick, then detaches from elsewhere.
    fn watch_ticks(&self) -> Result<()> {
        let server = self.house.server_arguments();
        let mut arguments: Vec<&str> = server.iter().map(String::as_str).collect();
        arguments.extend(["--bundle", "admin.bundle", "--key", "admin.key", "attach", "tick"]);
        println!("DEV> vmm-client {} &", arguments.join(" "));
        let mut attached = self.house.command("vmm-client", &arguments);
        let mut attached = attached.stdout(Stdio::piped()).spawn()?;
        let out = attached.stdout.take().context("no output of attach")?;
        let mut lines = BufReader::new(out).lines();
        for line in lines.by_ref() {
            let line = line?;
            println!("     {line}");
            if line.contains("tick 3") {
                break;
            }
        }
        self.client("admin.bundle", &["detach", "tick"], 0)?;
        let rest = lines.collect::<Result<Vec<_>, _>>()?;
        for line in &rest {
            println!("     {line}");
        }
        ensure!(attached.wait()?.success(), "attach did not end well");
        Ok(())
    }

    fn over_quota(&self) -> Result<()> {
        Self::title("What does not fit is refused, and says by which limit");
        let run = ["run", "big", "ticker.spt", "--memory", "600", "--cpu", "0"];
        self.client("dev.bundle", &run, 3)?;
        self.client("dev.bundle", &["run", "cpu", "hello.spt", "--memory", "1", "--cpu", "1"], 3)?;
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        Self::title("Stop and forget");
        self.client("admin.bundle", &["stop", "tick"], 0)?;
        self.client("admin.bundle", &["info", "tick"], 0)?;
        self.client("admin.bundle", &["destroy", "tick"], 0)?;
        self.client("admin.bundle", &["info", "tick"], 4)?;
        let quota = self.client("admin.bundle", &["--format", "json", "quota"], 0)?;
        ensure!(quota.contains("\"used\":0"), "something is still in use: {quota}");
        self.client("admin.bundle", &["log", "tick"], 0).map(drop)
    }

    fn take_back(&self) -> Result<()> {
        Self::title("6. DEV and CA: take it back");
        let machine = ["request", "machine", "ticks", "ticker.spt", "256", "--cpu", "0"];
        self.step("DEV", "vmm-ca", &machine, 0)?;
        self.step("DEV", "vmm-ca", &["sign", "dev.db", "dev.bundle", "dev.key", "ticks.req"], 0)?;
        let deploy = ["deploy", "--image", "ticker.spt"];
        self.client("ticks.bundle", &deploy, 0)?;
        let revoke = ["revoke", "dev.db", "dev.bundle", "dev.key", "ticks"];
        self.step("DEV", "vmm-ca", &revoke, 0)?;
        self.client("admin.bundle", &["revoke", "dev.crl"], 0)?;
        let seen = self.client("admin.bundle", &["info", "ticks"], 0)?;
        ensure!(seen.contains("revoked"), "the machine is not revoked");
        self.client("ticks.bundle", &deploy, 3).map(drop)
    }

    fn stay(&self) -> Result<()> {
        Self::title("The daemons go on. Try, in another terminal:");
        let server = self.house.server_arguments().join(" ");
        println!("     cd {}", self.house.dir.display());
        println!("     PATH={}:$PATH", self.house.programs().path("").display());
        println!("     C=\"{server} --bundle dev.bundle --key dev.key\"");
        for command in [
            "run tick ticker.spt --memory 64 --cpu 0",
            "attach tick",
            "info",
            "statistics tick --follow",
            "log --follow",
            "quota",
            "destroy tick",
        ] {
            println!("     vmm-client $C {command}");
        }
        print!("Press Enter to end. ");
        std::io::stdout().flush()?;
        std::io::stdin().lock().read_line(&mut String::new())?;
        Ok(())
    }
}

//! `vmm-tender inspect`.

use std::fmt;

use serde::Serialize;
use vmm_tender_abi::Image;

use crate::cli::{Format, InspectOptions};
use crate::image_file::ImageFile;
use crate::{Error, refusal};

const MIB: u64 = 1024 * 1024;

/// What is said about an image.
#[derive(Serialize, Debug)]
struct Report {
    /// `hvt`, `spt`, or the name of another target.
    kind: String,
    /// Version of the target's ABI.
    abi: u32,
    /// Address of the first instruction.
    entry: u64,
    /// Least memory with which it may be of use, in MiB.
    min_memory_mib: u64,
    segments: Vec<SegmentReport>,
    devices: Vec<DeviceReport>,
    /// Whether this tender can run it on this host, with all of its devices attached.
    runnable: bool,
    /// Why it cannot.
    why_not: Option<String>,
}

#[derive(Serialize, Debug)]
struct SegmentReport {
    address: u64,
    file_size: u64,
    memory_size: u64,
    flags: String,
}

#[derive(Serialize, Debug)]
struct DeviceReport {
    name: String,
    r#type: String,
}

/// Describes the image that `options` name, as text for people or as one line of JSON.
///
/// # Errors
/// It cannot be read, or it is no image.
pub(crate) fn inspect(options: InspectOptions) -> Result<String, Error> {
    let file = ImageFile::open(options.image)?;
    let report = Report::new(&Image::read(&file)?);
    Ok(match options.format {
        Format::Text => report.to_string(),
        Format::Json => {
            // Strings and numbers: there is nothing in it that JSON cannot express.
            let mut text = serde_json::to_string(&report).unwrap_or_default();
            text.push('\n');
            text
        }
    })
}

impl Report {
    fn new(image: &Image) -> Self {
        let segments = image.segments().iter().map(|segment| SegmentReport {
            address: segment.address,
            file_size: segment.file_size,
            memory_size: segment.memory_size,
            flags: segment.flags.to_string(),
        });
        let devices = image.manifest().devices().iter().map(|device| DeviceReport {
            name: device.name.to_string(),
            r#type: device.kind.to_string(),
        });
        let why_not = refusal::check(image).err().map(|refusal| refusal.to_string());
        Self {
            kind: image.abi().target.to_string(),
            abi: image.abi().version,
            entry: image.entry(),
            min_memory_mib: refusal::minimal_memory(image).div_ceil(MIB),
            segments: segments.collect(),
            devices: devices.collect(),
            runnable: why_not.is_none(),
            why_not,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} image, ABI version {}", self.kind, self.abi)?;
        writeln!(f, "entry: {:#x}", self.entry)?;
        writeln!(f, "memory: at least {} MiB", self.min_memory_mib)?;
        for segment in &self.segments {
            writeln!(
                f,
                "segment: {:#x} {:<2} {} bytes in memory, {} from the file",
                segment.address, segment.flags, segment.memory_size, segment.file_size
            )?;
        }
        for device in &self.devices {
            writeln!(f, "device: {} ({})", device.name, device.r#type)?;
        }
        match &self.why_not {
            None => writeln!(f, "runnable: yes"),
            Some(why) => writeln!(f, "runnable: no, {why}"),
        }
    }
}

//! Images of machines: named by digest, or small enough to travel in a certificate.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sha2::{Digest as _, Sha256};
use vmm_proto::id::Digest;
use vmm_proto::resource::{Encoding, Image, ResourceError};

use crate::Error;

/// The most bytes that an embedded image may have after packing: 40 KiB. A handshake message of TLS
/// carries 64 KiB, and the rest of the chain must fit in beside it (certificate profile, "Why images
/// are named by digest").
pub const MAX_EMBEDDED: usize = 40 << 10;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// SHA-256 and size of an image file, read piece by piece.
///
/// # Errors
/// [`Error::Io`]; [`Error::Unreadable`] for an empty file or one above [`Image::MAX_NAMED`].
pub fn digest(path: &Path) -> Result<(Digest, u32), Error> {
    let mut file = open(path)?;
    let mut hash = Sha256::new();
    let mut size: u64 = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        size += count as u64;
        if size > u64::from(Image::MAX_NAMED) {
            break;
        }
        hash.update(&chunk[..count]);
    }
    Ok((Digest(hash.finalize().into()), sized(path, size, Image::MAX_NAMED)?))
}

/// An image named by digest.
///
/// # Errors
/// As [`digest`].
pub fn named(path: &Path) -> Result<Image, Error> {
    let (sha256, size) = digest(path)?;
    Ok(Image::Digest { sha256, size })
}

/// An image that travels in the certificate: packed with zstd when that makes it smaller.
///
/// # Errors
/// [`Error::Io`]; [`Error::Unreadable`] when it is empty or, packed, above [`MAX_EMBEDDED`].
pub fn embedded(path: &Path) -> Result<Image, Error> {
    let mut content = Vec::new();
    let limit = u64::from(Image::MAX_EMBEDDED);
    open(path)?.take(limit + 1).read_to_end(&mut content).map_err(Error::io("read", path))?;
    let size = sized(path, content.len() as u64, Image::MAX_EMBEDDED)?;
    let packed = compress_to_vec(content.as_slice(), CompressionLevel::Fastest);
    let (encoding, data) = if packed.len() < content.len() {
        (Encoding::Zstd, packed)
    } else {
        (Encoding::Identity, content)
    };
    if data.len() > MAX_EMBEDDED {
        let problem = format!(
            "the image has {} bytes when packed, and at most {MAX_EMBEDDED} fit into a certificate: \
             sign it by digest (without --embed)",
            data.len()
        );
        return Err(Error::Unreadable { file: path.to_owned(), problem });
    }
    Ok(Image::Embedded { encoding, size, data })
}

/// Whether a file is that image.
///
/// # Errors
/// As [`digest`].
pub fn is(path: &Path, image: &Image) -> Result<bool, Error> {
    let found = digest(path)?;
    Ok(match image {
        Image::Digest { sha256, size } => found == (*sha256, *size),
        Image::Embedded { encoding, size, data } => {
            let mut content = Vec::new();
            let limit = u64::from(*size) + 1;
            let unpacked = match encoding {
                Encoding::Identity => data.as_slice().take(limit).read_to_end(&mut content).is_ok(),
                // What does not unpack is no image, whatever the file is.
                Encoding::Zstd => StreamingDecoder::new(data.as_slice())
                    .is_ok_and(|stream| stream.take(limit).read_to_end(&mut content).is_ok()),
            };
            unpacked && found == (Digest(Sha256::digest(&content).into()), *size)
        }
    })
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(Error::io("open", path))
}

fn sized(path: &Path, size: u64, limit: u32) -> Result<u32, Error> {
    match u32::try_from(size) {
        Ok(size) if (1..=limit).contains(&size) => Ok(size),
        _ => {
            let error = ResourceError::ImageSize { size, limit: limit.into() };
            // Reading stops past the limit, so the size would be wrong to name.
            let problem = if size == 0 {
                error.to_string()
            } else {
                format!("larger than {limit} bytes, the most that an image may have")
            };
            Err(Error::Unreadable { file: path.to_owned(), problem })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn a_digest_is_that_of_the_whole_file() {
        let content = vec![7; 3 * CHUNK + 5];
        let (sha256, size) = digest(file(&content).path()).unwrap();
        assert_eq!(sha256, Digest(Sha256::digest(&content).into()));
        assert_eq!(size as usize, content.len());
    }

    #[test]
    fn an_empty_file_is_no_image() {
        assert!(matches!(digest(file(b"").path()), Err(Error::Unreadable { .. })));
        assert!(matches!(embedded(file(b"").path()), Err(Error::Unreadable { .. })));
    }

    #[test]
    fn what_compresses_is_embedded_compressed_and_comes_back_whole() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 100).to_le_bytes()).collect();
        let image = embedded(file(&content).path()).unwrap();
        let Image::Embedded { encoding: Encoding::Zstd, size, data } = image else {
            panic!("{image:?}")
        };
        assert_eq!(size as usize, content.len());
        let mut back = Vec::new();
        StreamingDecoder::new(data.as_slice()).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == content);
        let image = Image::Embedded { encoding: Encoding::Zstd, size, data };
        assert!(is(file(&content).path(), &image).unwrap());
        assert!(!is(file(&content[1..]).path(), &image).unwrap());
    }

    #[test]
    fn what_does_not_compress_is_embedded_as_it_is_and_only_when_small() {
        let mut noise = vec![0; MAX_EMBEDDED];
        aws_lc_rs::rand::fill(&mut noise).unwrap();
        let image = embedded(file(&noise).path()).unwrap();
        assert!(matches!(image, Image::Embedded { encoding: Encoding::Identity, .. }));
        noise.push(0);
        let error = embedded(file(&noise).path()).unwrap_err().to_string();
        assert!(error.contains("by digest"), "{error}");
    }
}

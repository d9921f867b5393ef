//! Sending an image.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use vmm_proto::frame::MAX_DATA;
use vmm_proto::message::client::Reply;

use crate::failure::{Failure, Stop};
use crate::output::Screen;
use crate::plan::ImageSource;
use crate::session::Session;

/// How often the progress is shown.
const PROGRESS_TIME: Duration = Duration::from_millis(100);

/// Sends what the server asked for, from `offset` on. A reply that comes meanwhile ends it, and is
/// returned.
pub(crate) async fn send(
    session: &mut Session,
    request: u32,
    source: &ImageSource,
    offset: u64,
    screen: &mut Screen,
) -> Result<Option<Reply>, Stop> {
    let (file, size) = match source {
        ImageSource::File(file, size) => (file, u64::from(*size)),
        ImageSource::NotGiven(digest, size) => {
            session.cancel(request).await?;
            return Err(Failure::usage(format!(
                "the server does not have the image (SHA-256 {digest}, {size} bytes): give it \
                 with --image FILE"
            ))
            .into());
        }
        ImageSource::Nowhere => {
            return Err(session.nonsense("it asks for an image where there is none").into());
        }
    };
    if offset > size {
        return Err(session.nonsense("it asks for what is behind the image's end").into());
    }
    screen.say(&format!("sending {} from byte {offset} on", file.display()));
    let mut pieces = match Pieces::open(file, offset, size) {
        Ok(pieces) => pieces,
        Err(failure) => {
            session.cancel(request).await?;
            return Err(failure.into());
        }
    };
    let mut progress = Progress::new(file, size, screen);
    let sent = pieces.send_all(session, request, &mut progress, screen).await;
    progress.clear(screen);
    sent
}

/// The rest of a file, piece by piece.
struct Pieces<'p> {
    path: &'p Path,
    file: File,
    at: u64,
    size: u64,
}

impl<'p> Pieces<'p> {
    fn open(path: &'p Path, offset: u64, size: u64) -> Result<Self, Failure> {
        let problem = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
        let mut file = File::open(path).map_err(problem)?;
        file.seek(SeekFrom::Start(offset)).map_err(problem)?;
        Ok(Self { path, file, at: offset, size })
    }

    fn next(&mut self) -> Result<Vec<u8>, Failure> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(MAX_DATA)];
        self.file.read_exact(&mut piece).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Failure::usage(format!("{} became shorter meanwhile", self.path.display()))
            }
            _ => Failure::usage(format!("cannot read {}: {error}", self.path.display())),
        })?;
        self.at += piece.len() as u64;
        Ok(piece)
    }

    async fn send_all(
        &mut self,
        session: &mut Session,
        request: u32,
        progress: &mut Progress,
        screen: &mut Screen,
    ) -> Result<Option<Reply>, Stop> {
        while self.at < self.size {
            let piece = match self.next() {
                Ok(piece) => piece,
                Err(failure) => {
                    session.cancel(request).await?;
                    return Err(failure.into());
                }
            };
            if let Some(reply) = session.send_piece(request, piece).await? {
                return Ok(Some(reply));
            }
            progress.show(self.at, screen);
        }
        Ok(None)
    }
}

/// One line on a terminal that is written over and over.
struct Progress {
    name: String,
    size: u64,
    shown: Option<Instant>,
    wanted: bool,
    began: Instant,
}

impl Progress {
    fn new(file: &Path, size: u64, screen: &Screen) -> Self {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            name,
            size,
            shown: None,
            wanted: screen.notes_are_for_people(),
            began: Instant::now(),
        }
    }

    fn show(&mut self, at: u64, screen: &mut Screen) {
        // What takes no time needs no progress.
        let last = self.shown.unwrap_or(self.began);
        if self.wanted && last.elapsed() >= PROGRESS_TIME {
            screen.overwrite(&progress_line(&self.name, at, self.size));
            self.shown = Some(Instant::now());
        }
    }

    fn clear(&self, screen: &mut Screen) {
        if self.shown.is_some() {
            screen.overwrite("");
        }
    }
}

fn progress_line(name: &str, at: u64, size: u64) -> String {
    const WIDTH: u64 = 30;
    let filled = at * WIDTH / size.max(1);
    let bar: String = (0..WIDTH).map(|place| if place < filled { '#' } else { '.' }).collect();
    let percent = at * 100 / size.max(1);
    format!("{name} [{bar}] {percent:3} %  {} of {} KiB", at >> 10, size >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_bar_with_numbers() {
        let line = progress_line("hello.spt", 3 << 20, 4 << 20);
        assert_eq!(line, "hello.spt [######################........]  75 %  3072 of 4096 KiB");
    }

    #[test]
    fn a_file_is_cut_into_pieces_from_the_offset_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![1; MAX_DATA + 10]).unwrap();
        let size = MAX_DATA as u64 + 10;
        let mut pieces = Pieces::open(file.path(), 5, size).unwrap();
        assert_eq!(pieces.next().unwrap().len(), MAX_DATA);
        assert_eq!(pieces.next().unwrap().len(), 5);
        let mut longer = Pieces::open(file.path(), 0, size + 1).unwrap();
        assert_eq!(longer.next().unwrap().len(), MAX_DATA);
        assert!(longer.next().unwrap_err().to_string().contains("shorter"));
    }
}

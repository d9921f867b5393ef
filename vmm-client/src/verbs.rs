//! What each verb does with the replies to its request.

mod console;
mod deploy;
mod host;
mod host_network;
mod info;
mod log;
mod quota;
mod revoke;
mod statistics;
pub(crate) mod why;

use vmm_proto::message::client::{Reply, Request};

use crate::failure::Stop;
use crate::output::{Screen, json};
use crate::plan::Plan;
use crate::session::Session;

/// Makes the request and shows what comes back, to the end.
pub(crate) async fn perform(
    plan: Plan,
    session: &mut Session,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let Plan { request, image, list, needs: _ } = plan;
    let number = session.open(request.clone()).await?;
    let mut asked = Asked { number, session };
    let done = match request {
        Request::Deploy { attach, .. } => deploy::deploy(&mut asked, attach, &image, screen).await,
        Request::Attach { name, follow, .. } => {
            console::attach(&mut asked, &name, follow, screen).await
        }
        Request::Info { name } => info::info(&mut asked, name.as_deref(), screen).await,
        Request::Statistics { follow, .. } => {
            statistics::statistics(&mut asked, follow, screen).await
        }
        Request::Log { follow, .. } => log::log(&mut asked, follow, screen).await,
        Request::Quota => quota::quota(&mut asked, screen).await,
        Request::Detach { .. } => detach(&mut asked, screen).await,
        Request::Start { name } => plain(&mut asked, "start", &name, screen).await,
        Request::Stop { name, .. } => plain(&mut asked, "stop", &name, screen).await,
        Request::Restart { name, .. } => plain(&mut asked, "restart", &name, screen).await,
        Request::Destroy { name } => plain(&mut asked, "destroy", &name, screen).await,
        Request::Revoke { .. } => revoke::revoke(&mut asked, &list, screen).await,
        Request::Why(_) => why::why(&mut asked, screen).await,
        Request::Host(_) => host::host(&mut asked, screen).await,
        Request::HostNetwork(deed) => host_network::perform(&mut asked, &deed, screen).await,
    };
    if done == Err(Stop::Interrupted) {
        session.cancel(number).await?;
    }
    done
}

/// A request that was made.
struct Asked<'s> {
    number: u32,
    session: &'s mut Session,
}

impl Asked<'_> {
    async fn next(&mut self) -> Result<Reply, Stop> {
        self.session.next(self.number).await
    }

    /// All that is told in parts, up to the end; `part` is what is told in a reply.
    async fn every<T>(
        &mut self,
        part: impl Fn(&mut Reply) -> Option<&mut Vec<T>>,
    ) -> Result<Vec<T>, Stop> {
        let mut all = Vec::new();
        loop {
            let mut reply = self.next().await?;
            if matches!(reply, Reply::Done) {
                return Ok(all);
            }
            let Some(more) = part(&mut reply) else { return Err(self.unexpected(&reply)) };
            all.append(more);
        }
    }

    /// A reply that does not belong to this request.
    fn unexpected(&mut self, reply: &Reply) -> Stop {
        let kind = match reply {
            Reply::NeedImage { .. } => "the wish for an image",
            Reply::Deployed(_) => "a deployed machine",
            Reply::Machines(_) => "machines",
            Reply::Output(_) => "output",
            Reply::Ended { .. } => "the end of a machine",
            Reply::Detached(_) => "detached readers",
            Reply::Statistics(_) => "statistics",
            Reply::LogLine(_) => "a line of the log",
            Reply::Quota(_) => "quotas",
            Reply::NeedList => "the wish for a revocation list",
            Reply::Revoked(_) => "a list in force",
            Reply::Why(_) => "an explanation",
            Reply::Doors(_) => "the state of the host",
            Reply::HostNetworks(_) => "networks of the host",
            Reply::Done => "the end",
            Reply::Error(_) => "an error",
        };
        self.session.nonsense(&format!("{kind} is no answer to this")).into()
    }
}

/// A verb whose only answer is that it was done. For people, no news is good news.
async fn plain(
    asked: &mut Asked<'_>,
    verb: &str,
    name: &str,
    screen: &mut Screen,
) -> Result<(), Stop> {
    match asked.next().await? {
        Reply::Done if screen.is_json() => screen.json(&json::Done { done: verb, name }),
        Reply::Done => Ok(()),
        other => Err(asked.unexpected(&other)),
    }
}

async fn detach(asked: &mut Asked<'_>, screen: &mut Screen) -> Result<(), Stop> {
    let mut detached = 0;
    loop {
        match asked.next().await? {
            Reply::Detached(count) => detached += count,
            Reply::Done => break,
            other => return Err(asked.unexpected(&other)),
        }
    }
    if screen.is_json() {
        return screen.json(&json::Detached { detached });
    }
    let readers = if detached == 1 { "reader" } else { "readers" };
    screen.text(&format!("{detached} {readers} detached\n"))
}

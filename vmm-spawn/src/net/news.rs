//! The kernel's word that somebody has changed rules, right when it is done. What was changed is not
//! read here: whoever hears it looks ([`watch`](super::watch)). Without it changes are noticed, too,
//! only later.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::{Errno, read};
use tracing::{debug, error};

use super::Networks;
use crate::poller::{Poller, Token};

/// The group of those who are told of rules (`NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`).
const GROUP: u32 = 7;

/// Messages that are taken in one turn. More of them say nothing more.
const AT_ONCE: usize = 1000;

/// A connection on which the kernel says that rules of this network have changed.
#[derive(Debug)]
pub struct News(Socket);

impl News {
    /// Opens one, in the network of the calling thread.
    ///
    /// # Errors
    /// This process may not hear it, or the kernel has no rules.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        socket.add_membership(GROUP)?;
        Ok(Self(socket))
    }

    /// One that has room for so many bytes, or as little as the kernel gives.
    #[cfg(test)]
    pub(super) fn with_room(bytes: usize) -> io::Result<Self> {
        let news = Self::open()?;
        news.0.set_rx_buf_sz(bytes)?;
        Ok(news)
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// Nothing more will come.
    pub fn take(&self) -> Result<(), Errno> {
        for _ in 0..AT_ONCE {
            // The rest of each message is dropped.
            match read(&self.0, &mut [0; 1]) {
                // Without room, more was said than this.
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Networks {
    /// Has the kernel tell of changes from now on ([`Token::Rules`]), unless it does already or there is
    /// no bridge that machines may be put on.
    pub fn listen(&mut self, poller: &Poller) {
        if self.news.is_some() || self.bridges.is_empty() {
            return;
        }
        let watched = News::open().and_then(|news| {
            poller.watch(&news, Token::Rules)?;
            Ok(news)
        });
        match watched {
            Ok(news) => self.news = Some(news),
            Err(error) => debug!("changes of rules are not heard of, so it is asked: {error}"),
        }
    }

    /// Somebody has changed rules, or this process has: it is looked soon.
    pub fn on_news(&mut self, poller: &Poller, now: Instant) {
        let Some(news) = &self.news else { return };
        if let Err(error) = news.take() {
            error!("changes of rules are not heard of any more, so it is asked: {error}");
            if let Err(error) = poller.forget(news) {
                error!("their connection stays watched: {error}");
            }
            self.news = None;
        }
        self.watch.hurry(now);
    }
}

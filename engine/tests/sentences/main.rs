//! What the engine promises, one sentence each.

// "cfg(test)" tells clippy that these are tests, too.
#[cfg(test)]
mod delegations;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod ended;
mod expiry;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod host_networks;
#[cfg(test)]
mod images;
mod keep;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod networks;
#[cfg(test)]
mod outlive;
#[cfg(test)]
mod probation;
#[cfg(test)]
mod quota;
#[cfg(test)]
mod reboot;
#[cfg(test)]
mod replace;
#[cfg(test)]
mod restart;
mod revoking;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod verbs;

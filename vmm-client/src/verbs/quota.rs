//! Limits and what is used of them.

use vmm_proto::message::client::{Amount, Quota, Reply};

use super::Asked;
use super::info::numbers;
use crate::failure::Stop;
use crate::output::table::{Side, Table};
use crate::output::{Screen, json};

/// Shows the limits, from the certificate's own path down.
pub(super) async fn quota(asked: &mut Asked<'_>, screen: &mut Screen) -> Result<(), Stop> {
    let told = asked.every(|reply| match reply {
        Reply::Quota(more) => Some(more),
        _ => None,
    });
    let quotas = told.await?;
    if screen.is_json() {
        let quotas: Vec<_> = quotas.iter().map(json::Quota::of).collect();
        return screen.json(&quotas);
    }
    screen.text(&table(&quotas).to_string())
}

fn table(quotas: &[Quota]) -> Table {
    let mut table = Table::new(&[
        ("PATH", Side::Left),
        ("MACHINES", Side::Right),
        ("MEMORY MIB", Side::Right),
        ("STORAGE MIB", Side::Right),
        ("CPUS", Side::Left),
        ("BRIDGES", Side::Left),
    ]);
    for quota in quotas {
        table.row(&[
            // As a client would name it: everything below that path.
            if quota.path.is_empty() { "/".to_owned() } else { format!("/{}/", quota.path) },
            used_of(quota.machines),
            used_of(quota.memory_mib),
            used_of(quota.storage_mib),
            numbers(&quota.cpus),
            quota.bridges.join(","),
        ]);
    }
    table
}

fn used_of(Amount { limit, used }: Amount) -> String {
    let over = if used > limit { "over: " } else { "" };
    format!("{over}{used} of {limit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_amount_is_shown_with_its_limit() {
        let amount = |limit, used| Amount { limit, used };
        let quota = |path: &str| Quota {
            path: path.to_owned(),
            machines: amount(2, 1),
            memory_mib: amount(1024, 512),
            storage_mib: amount(0, 0),
            cpus: vec![0, 1],
            bridges: vec!["ext".to_owned(), "int".to_owned()],
        };
        let expected = "\
PATH         MACHINES   MEMORY MIB  STORAGE MIB  CPUS  BRIDGES
/              1 of 2  512 of 1024       0 of 0  0,1   ext,int
/dev/alice/    1 of 2  512 of 1024       0 of 0  0,1   ext,int
";
        assert_eq!(table(&[quota(""), quota("dev/alice")]).to_string(), expected);
        let over = Quota { memory_mib: amount(400, 512), ..quota("dev") };
        assert!(table(&[over]).to_string().contains("1 of 2  over: 512 of 400"));
    }
}

//! Subjects below the root are exactly one commonName, a label.

use vmm_proto::chain::Fault;
use vmm_tests::forge::der;
use vmm_tests::forge::names::{COMMON_NAME, Name, ORGANIZATION};

use crate::scene::{Case, at_each, fault};

/// One commonName with a value of this tag.
fn tagged(tag: u8, value: &[u8]) -> Name {
    Name::of(&[&[(COMMON_NAME, tag, value)]])
}

/// One letter more than a label may have.
const LONG: &str = match str::from_utf8(&[b'x'; 64]) {
    Ok(label) => label,
    Err(_) => unreachable!(),
};

pub(crate) fn cases() -> Vec<Case> {
    let utf8 = der::UTF8_STRING;
    let shapes = [
        ("a subject without attributes", Name::of(&[])),
        (
            "a subject with two commonNames",
            Name::of(&[&[(COMMON_NAME, utf8, b"admin")], &[(COMMON_NAME, utf8, b"eve")]]),
        ),
        (
            "a subject with the same commonName twice",
            Name::of(&[&[(COMMON_NAME, utf8, b"admin")], &[(COMMON_NAME, utf8, b"admin")]]),
        ),
        (
            "a subject with two commonNames in one part",
            Name::of(&[&[(COMMON_NAME, utf8, b"admin"), (COMMON_NAME, utf8, b"eve")]]),
        ),
        (
            "a subject with an organization behind",
            Name::of(&[&[(COMMON_NAME, utf8, b"admin")], &[(ORGANIZATION, utf8, b"Example")]]),
        ),
        (
            "a subject with an organization before",
            Name::of(&[&[(ORGANIZATION, utf8, b"Example")], &[(COMMON_NAME, utf8, b"admin")]]),
        ),
        ("a subject that is an organization", Name::of(&[&[(ORGANIZATION, utf8, b"admin")]])),
        ("a subject with an empty part", Name::of(&[&[]])),
        ("a commonName in BMPString", tagged(der::BMP_STRING, b"\0a\0d")),
        ("a commonName in TeletexString", tagged(der::TELETEX_STRING, b"admin")),
        ("a commonName in IA5String", tagged(der::IA5_STRING, b"admin")),
        ("a commonName that is an OCTET STRING", tagged(der::OCTET_STRING, b"admin")),
        ("a commonName that is an INTEGER", tagged(der::INTEGER, &[7])),
        ("a commonName that is not UTF-8", tagged(utf8, &[b'a', 0xff])),
    ];
    let labels = [
        ("an empty commonName", ""),
        ("a label in upper case", "Admin"),
        ("a label with a space", "the admin"),
        ("a label that is a path upwards", "../../x"),
        ("a label with a slash", "dev/admin"),
        ("a label with a dot", "admin.example"),
        ("a label with an underscore", "ad_min"),
        ("a label that begins with a hyphen", "-admin"),
        ("a label that ends with a hyphen", "admin-"),
        ("a label of 64 letters", LONG),
        ("a label with a NUL", "admin\0"),
        ("a label with a line's end", "admin\n"),
        ("a label with a look-alike letter", "аdmin"),
        ("a label with a combining mark", "a\u{301}dmin"),
        ("a label of full-width letters", "ａdmin"),
    ];
    let mut cases = Vec::new();
    for (name, subject) in shapes {
        cases.extend(at_each(
            &[3],
            name,
            move |c| c.subject = subject.clone(),
            &fault!(3, Fault::Subject),
        ));
    }
    for (name, label) in labels {
        let reason = fault!(3, Fault::Label(_)).of(label);
        cases.extend(at_each(&[1, 2, 3], name, move |c| c.subject = Name::common(label), &reason));
    }
    cases.extend(at_each(
        &[1, 2],
        "a delegation with two commonNames",
        |c| {
            c.subject = Name::of(&[
                &[(COMMON_NAME, der::UTF8_STRING, b"dev")],
                &[(COMMON_NAME, der::UTF8_STRING, b"eve")],
            ]);
        },
        &fault!(3, Fault::Subject),
    ));
    cases.extend(at_each(
        &[1, 2],
        "a delegation with the root's name",
        |c| c.subject = Name::common("ca root"),
        // A name that is its issuer's makes dev look like a root, which it is not by its fields.
        &fault!(3, Fault::Label(_)),
    ));
    cases
}

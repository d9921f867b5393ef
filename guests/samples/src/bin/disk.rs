//! Writes every block of its block device `storage`, reads all of them and compares.
//!
//! With `--verify` it only reads and compares: what an earlier machine wrote, with the same
//! `--seed=N` (0). `--blocks=N` limits it to the first N blocks, `--rounds=N` (1) repeats it. With
//! `--reads=N` it does nothing but read N blocks, one after the other, without looking at them.
#![no_std]
#![no_main]

extern crate alloc;

use solo5::{Arguments, Block, Declared, Failure, println};

solo5::unikernel!(main, [Declared::Block("storage")]);

fn main(arguments: Arguments) -> i32 {
    let Some(disk) = Block::named("storage") else {
        println!("disk: there is no block device 'storage'");
        return 1;
    };
    let block_size = u64::from(disk.block_size());
    let all = disk.capacity() / block_size;
    println!("disk: {all} blocks of {block_size} bytes");
    let blocks = arguments.number_of("--blocks=").unwrap_or(all).min(all);
    let seed = arguments.number_of("--seed=").unwrap_or(0);
    let only_verify = arguments.words().any(|word| word == b"--verify");
    let rounds = arguments.number_of("--rounds=").unwrap_or(1);
    let mut test = Test::new(disk, blocks);
    if let Some(reads) = arguments.number_of("--reads=") {
        return test.read_only(reads);
    }
    for round in 0..rounds {
        let seed = seed.wrapping_add(round);
        let done = if only_verify { Ok(()) } else { test.write(seed) };
        if let Err(trouble) = done.and_then(|()| test.verify(seed)) {
            println!("disk: block {}: {:?}", trouble.block, trouble.what);
            return 1;
        }
    }
    println!("disk: {blocks} blocks verified");
    0
}

struct Test {
    disk: Block,
    blocks: u64,
    expected: alloc::vec::Vec<u8>,
    read: alloc::vec::Vec<u8>,
}

struct Trouble {
    block: u64,
    what: What,
}

#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
enum What {
    Differs,
    CannotRead(Failure),
    CannotWrite(Failure),
}

impl Test {
    fn new(disk: Block, blocks: u64) -> Self {
        let block = alloc::vec![0; usize::from(disk.block_size())];
        Self { disk, blocks, expected: block.clone(), read: block }
    }

    fn write(&mut self, seed: u64) -> Result<(), Trouble> {
        for block in 0..self.blocks {
            fill(&mut self.expected, seed, block);
            self.disk
                .write(self.offset(block), &self.expected)
                .map_err(|failure| Trouble { block, what: What::CannotWrite(failure) })?;
        }
        Ok(())
    }

    fn verify(&mut self, seed: u64) -> Result<(), Trouble> {
        for block in 0..self.blocks {
            fill(&mut self.expected, seed, block);
            let offset = self.offset(block);
            self.disk
                .read(offset, &mut self.read)
                .map_err(|failure| Trouble { block, what: What::CannotRead(failure) })?;
            if self.read != self.expected {
                return Err(Trouble { block, what: What::Differs });
            }
        }
        Ok(())
    }

    fn read_only(&mut self, reads: u64) -> i32 {
        for block in (0..self.blocks).cycle().zip(0..reads).map(|(block, _)| block) {
            if let Err(failure) = self.disk.read(self.offset(block), &mut self.read) {
                println!("disk: block {block}: {failure:?}");
                return 1;
            }
        }
        println!("disk: {reads} blocks read");
        0
    }

    fn offset(&self, block: u64) -> u64 {
        block * u64::from(self.disk.block_size())
    }
}

/// What belongs into a block: begins with its number, and no two are the same.
fn fill(block: &mut [u8], seed: u64, number: u64) {
    let word = number ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for (index, chunk) in (0u64..).zip(block.chunks_exact_mut(8)) {
        chunk.copy_from_slice(&word.wrapping_add(index << 32).to_le_bytes());
    }
}

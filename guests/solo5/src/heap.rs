//! The heap: memory is handed out upwards. Only the block handed out last can be given back or
//! grown in place, which suits programs that live short or allocate little.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

struct Heap {
    next: AtomicUsize,
    end: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

/// Makes `[start, end)` the heap.
pub(crate) fn start(start: usize, end: usize) {
    HEAP.next.store(start, Ordering::Relaxed);
    HEAP.end.store(end, Ordering::Relaxed);
}

impl Heap {
    /// Where the next block begins if `size` bytes from `at` on are taken, if they are there.
    fn take(&self, at: usize, size: usize) -> Option<()> {
        let next = at.checked_add(size)?;
        if next > self.end.load(Ordering::Relaxed) {
            return None;
        }
        self.next.store(next, Ordering::Relaxed);
        Some(())
    }
}

// SAFETY: blocks do not overlap, as each begins where all before it have ended; there is one
// thread and no interrupt, so that load and store need not be one operation.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let at = self.next.load(Ordering::Relaxed).checked_next_multiple_of(layout.align());
        match at.and_then(|at| self.take(at, layout.size()).map(|()| at)) {
            Some(at) => ptr::with_exposed_provenance_mut(at),
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block.addr() + layout.size() == self.next.load(Ordering::Relaxed) {
            self.next.store(block.addr(), Ordering::Relaxed);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let last = block.addr() + layout.size() == self.next.load(Ordering::Relaxed);
        if last && self.take(block.addr(), size).is_some() {
            return block;
        }
        // SAFETY: the caller guarantees that `size` is valid with the block's alignment.
        let layout_after = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the caller guarantees that `size` is not zero.
        let copy = unsafe { self.alloc(layout_after) };
        if !copy.is_null() {
            // SAFETY: both blocks have that many bytes and do not overlap.
            unsafe { ptr::copy_nonoverlapping(block, copy, layout.size().min(size)) };
        }
        copy
    }
}

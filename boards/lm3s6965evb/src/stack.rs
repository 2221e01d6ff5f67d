//! How deep the stack has been.
//!
//! The start-up code paints it; what is not painted any more has been used. The stack
//! begins at the end of RAM and grows downwards to the end of the static data.

unsafe extern "C" {
    /// The end of static data, by the linker script.
    static __sheap: u32;
    /// The beginning of the stack.
    static _stack_start: u32;
}

/// Bytes of the stack that have been used at most.
pub(crate) fn high_water() -> usize {
    let (end, start) = (&raw const __sheap, &raw const _stack_start);
    let words = (start as usize - end as usize) / 4;
    let mut unused = 0;
    while unused < words {
        // SAFETY: between these two symbols lies RAM that belongs to the stack alone;
        // below its present depth nothing writes while we read.
        let word = unsafe { end.add(unused).read_volatile() };
        if word != cortex_m_rt::STACK_PAINT_VALUE {
            break;
        }
        unused += 1;
    }
    (words - unused) * 4
}

/// Bytes of static data.
pub(crate) fn static_bytes() -> usize {
    (&raw const __sheap) as usize - 0x2000_0000
}

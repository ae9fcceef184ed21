//! How many different names: HyperLogLog (Flajolet, Fusy, Gandouet, Meunier, 2007) with 4,096
//! registers, and the estimate of Ertl ("New cardinality estimation algorithms for HyperLogLog
//! sketches", 2017), which needs no correction at either end.

use crate::real;

/// Bits of a hash that choose the register.
const PRECISION: u32 = 12;

const REGISTERS: usize = 1 << PRECISION;

/// Bits of a hash that are left.
const REST: u32 = 64 - PRECISION;

/// Values that a register can have: 0, and the places 1 to 53 of the first one among 52 bits.
const VALUES: usize = REST as usize + 2;

const HOUR_MS: u64 = 3_600_000;
const HOURS: u64 = 24;

/// A sketch of a set of names. Its estimate has a standard error of 1.04 / 64, which is 1.6 %.
#[derive(Clone)]
pub struct HyperLogLog {
    registers: Box<[u8; REGISTERS]>,
}

impl Default for HyperLogLog {
    fn default() -> Self {
        Self { registers: Box::new([0; REGISTERS]) }
    }
}

impl HyperLogLog {
    /// Adds the name that a hash stands for.
    pub fn add(&mut self, hash: u64) {
        let register = (hash >> REST) as usize;
        // The bits that chose the register are shifted out, and a one ends the rest.
        let rest = (hash << PRECISION) | (1 << (PRECISION - 1));
        let place = rest.leading_zeros() as u8 + 1;
        let known = &mut self.registers[register];
        *known = place.max(*known);
    }

    /// Adds all that another sketch has.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.registers.iter_mut().zip(other.registers.iter()) {
            *ours = (*ours).max(*theirs);
        }
    }

    /// How many different names there are, about.
    pub fn estimate(&self) -> f64 {
        let mut having = [0_u64; VALUES];
        for register in self.registers.iter() {
            having[usize::from(*register)] += 1;
        }
        let registers = real(REGISTERS as u64);
        let full = real(having[VALUES - 1]);
        let mut sum = registers * tau(1.0 - full / registers);
        for count in having[1..VALUES - 1].iter().rev() {
            sum = 0.5 * (sum + real(*count));
        }
        sum += registers * sigma(real(having[0]) / registers);
        registers * registers / (2.0 * std::f64::consts::LN_2 * sum)
    }

    fn clear(&mut self) {
        self.registers.fill(0);
    }
}

impl std::fmt::Debug for HyperLogLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HyperLogLog").field("estimate", &self.estimate()).finish()
    }
}

/// Ertl's σ, for the part of the registers that are empty: infinite when all are.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// Ertl's τ, for the part of the registers that are not full.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

/// Sketches of the present hour and of the 23 before it.
#[derive(Debug)]
pub struct Day {
    hour: u64,
    hours: Vec<HyperLogLog>,
}

impl Default for Day {
    fn default() -> Self {
        Self { hour: 0, hours: vec![HyperLogLog::default(); HOURS as usize] }
    }
}

impl Day {
    /// Adds a name. A time before one that was told counts as that.
    pub fn add(&mut self, now_ms: u64, hash: u64) {
        self.advance(now_ms);
        self.hours[(self.hour % HOURS) as usize].add(hash);
    }

    /// How many different names there were in 23 to 24 hours, about.
    pub fn estimate(&mut self, now_ms: u64) -> f64 {
        self.advance(now_ms);
        let mut all = HyperLogLog::default();
        for hour in &self.hours {
            all.merge(hour);
        }
        all.estimate()
    }

    fn advance(&mut self, now_ms: u64) {
        let hour = now_ms / HOUR_MS;
        let passed = hour.saturating_sub(self.hour).min(HOURS);
        // The oldest sketches become those of the hours that began since.
        for begun in (hour + 1 - passed..=hour).filter(|_| passed > 0) {
            self.hours[(begun % HOURS) as usize].clear();
        }
        self.hour = self.hour.max(hour);
    }
}

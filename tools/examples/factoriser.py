"""Invertible logic: a multiplier of p-bits run backwards factorises a number.

Every gate is an energy whose ground states are the rows of its truth table, with bits x in {0, 1}:
an AND is ``x y - 2 (x + y) z + 3 z``, a full adder the square of ``a + b + c - sum - 2 carry``. A
circuit is the sum of its gates, so all its wires agree at energy 0. Nothing says which wires are
inputs: hold the factors and the product appears, hold the product and the factors do [1]_.

    python tools/examples/factoriser.py 143

References
----------
.. [1] K. Y. Camsari, R. Faria, B. M. Sutton, S. Datta, "Stochastic p-bits for invertible logic",
   Phys. Rev. X 7, 031014 (2017).
"""

import argparse
from collections import Counter, defaultdict

from pbitstream.ising import Problem
from pbitstream.sampling import IsingSampler, clamp, ladder, temper

ROUNDS, SWEEPS, CHAINS, LEVELS = 100, 10, 16, 16


class Circuit:
    """Gates over named wires, as one QUBO."""

    def __init__(self) -> None:
        self.q: dict[tuple[str, str], float] = defaultdict(float)
        self.offset = 0.0
        self.wires = 0

    def wire(self) -> str:
        """Return a new wire."""
        self.wires += 1
        return f"w{self.wires}"

    def both(self, x: str, y: str) -> str:
        """Return x AND y."""
        z = self.wire()
        for pair, weight in (((x, y), 1), ((x, z), -2), ((y, z), -2), ((z, z), 3)):
            self.q[pair] += weight
        return z

    def add(self, bits: list[str]) -> tuple[str, str]:
        """Return sum and carry of two or three bits."""
        total, carry = self.wire(), self.wire()
        terms = [*((bit, 1) for bit in bits), (total, -1), (carry, -2)]
        for i, (x, weight) in enumerate(terms):
            self.q[x, x] += weight * weight
            for y, other in terms[i + 1 :]:
                self.q[x, y] += 2 * weight * other
        return total, carry

    def multiply(self, left: list[str], right: list[str]) -> list[str]:
        """Return the bits of a product, the lowest first."""
        columns: list[list[str]] = [[] for _ in range(len(left) + len(right))]
        for i, x in enumerate(left):
            for j, y in enumerate(right):
                columns[i + j].append(self.both(x, y))
        for place, column in enumerate(columns):
            while len(column) > 1:
                total, carry = self.add([column.pop() for _ in range(min(3, len(column)))])
                column.append(total)
                columns[place + 1].append(carry)
        return [column[0] for column in columns if column]


def factorise(number: int, seed: int) -> tuple[Counter[tuple[int, int]], Problem]:
    """Return how often each pair of factors was seen at energy 0, and the problem.

    The factors are odd and have at most half the bits of the number, rounded up.
    """
    bits = -(-number.bit_length() // 2)
    circuit = Circuit()
    left, right = ([f"{name}{k}" for k in range(bits)] for name in "pq")
    product = circuit.multiply(left, right)
    problem = Problem.from_qubo(circuit.q, offset=circuit.offset)
    assert problem.labels is not None
    place = {label: i for i, label in enumerate(problem.labels)}
    held = {place[wire]: 1 if number >> k & 1 else -1 for k, wire in enumerate(product)}
    held |= {place[left[0]]: 1, place[right[0]]: 1}
    held_problem = clamp(problem, held)
    found: Counter[tuple[int, int]] = Counter()
    with IsingSampler(held_problem.problem) as sampler:
        done = temper(sampler, ladder(0.2, 3.0, LEVELS), rounds=ROUNDS, sweeps=SWEEPS,
                      chains=CHAINS, seed=seed)
    for spins in [done.best_spins, *done.spins]:
        whole = held_problem.whole(spins)
        if problem.energy(whole) == 0:
            factors = [sum(int(whole[place[wire]] > 0) << k for k, wire in enumerate(name))
                       for name in (left, right)]
            found[min(factors), max(factors)] += 1
    return found, problem


def main() -> int:
    """Factorise and print; 1 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("number", type=int, help="odd, such as 35, 143 or 899")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.number < 9 or arguments.number % 2 == 0:
        parser.error("number must be odd and at least 9")
    found, problem = factorise(arguments.number, arguments.seed)
    print(f"{problem.n} p-bits, {problem.edges} couplings, {CHAINS} chains of {LEVELS} levels")
    for (left, right), count in found.most_common():
        print(f"{arguments.number} = {left} x {right}, in {count} of {CHAINS + 1} states")
    if not found:
        print("no state of energy 0 was seen: a prime, or factors of unequal length")
    return int(not found)


if __name__ == "__main__":
    raise SystemExit(main())

"""How far the free phase may be from rest: its residual drift over the nudge, under each rule.

At rest dE/dx = 0. What is left of it, as a root mean square over free units, moves the state on
while it is nudged. The one-sided rule reads that motion as an effect of the nudge b, so it is wrong
by about drift / b; the other rules subtract two phases that drift alike, which cancels to first
order.

Measured on 30 systems of `pbitstream.training.systems` at nudges up to .1, dt = 1/8 and 40 nudged
steps, the mean cosine with the true gradient, in brackets the lowest::

    drift / b    one-sided      matched        symmetric
    < .01        .998 (.988)    .998 (.987)    1.000 (.995)
    .03 - .1     .96  (.79)     .997 (.987)    .999 (.995)
    .1 - .2      .83  (.61)     .999 (.994)    .999 (.995)
    1 - 2        .06  (-.69)    .998 (.988)    .999 (.983)
    5 - 10       -.12 (-.76)    .999 (.991)    .999 (.988)

So one-sided is refused above .1, and the others are held to where they were measured: matched is
refused above 10, symmetric warned of. At T > 0 a single state is never at rest: one-sided, that
noise is divided by the nudge just as drift is; in the other rules the phases share their noise, and
only their drift would count, which one state does not tell, so they are not judged.
"""

from pbitstream.errors import SpecError
from pbitstream.training.rules import Estimate, Rule

__all__ = ["DRIFT_BOUNDS", "judge_drift"]

#: Largest drift over nudge of each rule that nudges.
DRIFT_BOUNDS: dict[Rule, float] = {"one-sided": 0.1, "one-sided-matched": 10.0, "symmetric": 10.0}


def judge_drift(estimate: Estimate, rule: Rule, start: str = "warm") -> str | None:
    """Return what to warn of, or None where all is well.

    Raises
    ------
    SpecError
        If a one-sided rule is past its bound; the message says what to change.
    """
    bound = DRIFT_BOUNDS.get(rule)
    noisy = len(estimate.free.x) > 1
    ratio = estimate.drift / estimate.nudge
    if bound is None or ratio <= bound or (noisy and rule != "one-sided"):
        return None
    cure = "take more free steps, a larger nudge"
    if start == "cold":
        cure += ", a warm start"
    said = (f"the free phase still drifts by {estimate.drift:.3g}, {ratio:.3g} of the nudge "
            f"{estimate.nudge:.3g}, and rule {rule} is good up to {bound:g}; {cure}")
    if rule == "symmetric":
        return said
    raise SpecError(f"{said}, or rule symmetric")

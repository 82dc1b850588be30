"""Us and our peers, side by side: the same work, equal statistics first, then rates and ratios.

What makes a figure fair here:

- **Same work.** One spin update is one spin visited by a Gibbs update, one unit update one Langevin
  unit moved by one step, whatever it costs whom. All systems run the same couplings, biases and
  beta (the beta that our fixed point runs, which its rounding may have moved) and colour classes.
- **Equal statistics first.** Every system must give the energy that enumeration gives of a small
  graph, and Kaufman's exact energy of a torus next to its critical point; then on the very problem
  that is timed, the exact energy where there is one and ours elsewhere, within a stated number of
  standard errors (`equality`). A system that does not is shown without a ratio.
- **Interleaved rounds** in one process: every round runs every system once, figures are medians
  over rounds, ratios are formed within a round (`rounds`). A slow spell of the machine hits all.
- **One thread of ours against all threads of theirs**, and beside it the ratio per second of
  processor time, of all threads, which does not move when something else runs on the machine.
- **Everyone's best.** Chain counts, batch sizes, thread counts and forms of a loop are tried, and
  each system runs its fastest. Nobody returns more than the last state; JAX stays on its device.
- **Building, compiling and converting are apart**: what dwave-samplers reports as its own pre- and
  postprocessing is taken off its time, JAX is compiled and warm before the first round.

What stays unfair, and to whom:

- THRML and JAX are made for accelerators and for models of any kind; on processors they leave
  much on the table. THRML runs in float32 with a new random key per update.
- dwave-samplers and ferrotherm visit spins in float64. dwave-samplers is an annealer; a constant
  beta is not what it is tuned for, and its own default is Metropolis, not Gibbs.
- Ours is fixed point: probabilities are rounded to 2^-16. The peers' are finer.
- Couplings of one magnitude are sliced into bits here, which no peer does: that row says nothing
  about general couplings, which the others say.
- thermox makes exact transitions of any length at a price per transition: other work. It is the
  oracle of the Langevin rows, and has no rate.
"""

"""When a board does what, in clock cycles after an instruction's multiplication is issued."""

__all__ = [
    "CLEAR_STAGE",
    "COUNT_STAGES",
    "EXPOSED_STAGE",
    "FIELD_STAGE",
    "JUMP_CYCLES",
    "OPERAND_STAGE",
    "RESULTS_STAGE",
    "RESULT_STAGE",
    "RETIRE_STAGE",
    "RING",
    "ROTATE_STAGES",
    "SUM_STAGE",
    "TABLE_STAGE",
    "TREE_STAGES",
    "UNIT_STAGES",
    "WORD_STAGE",
    "WRITTEN_STAGE",
]

#: Cycles without an issue after an instruction that sends the fetch elsewhere.
JUMP_CYCLES = 2
#: Rows of finished fields that may wait for the update pipes.
RING = 16
#: Cycles of the rotator, two bits of the rotation in each.
ROTATE_STAGES = 4
#: Cycles of the adder tree, two levels in each.
TREE_STAGES = 4
#: An exposed state is read at stage 1 and stands before the rotator at stage 2.
OPERAND_STAGE = 2 + ROTATE_STAGES
#: The table is addressed so that its word is a register at OPERAND_STAGE.
TABLE_STAGE = OPERAND_STAGE - 2
#: A result has been read, and is registered for all lanes.
RESULTS_STAGE = OPERAND_STAGE - 2
#: The product is registered; whether it starts a sum is said here.
CLEAR_STAGE = OPERAND_STAGE + 1
#: The sum is registered.
SUM_STAGE = OPERAND_STAGE + 2
#: A result of a projection that was issued at 0 can be addressed for reading.
RESULT_STAGE = SUM_STAGE + TREE_STAGES + 10
#: Cycles from a pulse that counts to an issue that waited for it: the count, the comparison, and
#: the register of the issue.
COUNT_STAGES = 3
#: The pulse that counts a result: an issue that waited for it reads just in time.
WRITTEN_STAGE = RESULT_STAGE - (RESULTS_STAGE - 1) - COUNT_STAGES

#: Update pipes: cycles from field and state to the new state, and the one that takes a noise word.
UNIT_STAGES = 13
WORD_STAGE = 5
#: Cycles of a pipe from a unit's address to the sum of field and bias.
FIELD_STAGE = 3
#: A row's exposed states can be read, after its last unit's address; and the pulse that counts it:
#: an issue that waited for it reads just in time.
EXPOSED_STAGE = FIELD_STAGE + UNIT_STAGES + 4
RETIRE_STAGE = EXPOSED_STAGE - 1 - COUNT_STAGES

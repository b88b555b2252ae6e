# SPDX-License-Identifier: Apache-2.0
"""Finding the tasks that a batch is refused for, by halving it; without I/O."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

#: Batches that are read at most to find the culprits of one.
MAX_READS = 40


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """What to read next: the tasks as one batch, or (``singly``) the only one by a single read."""

    tasks: list[T]
    singly: bool = False


@dataclass(frozen=True, slots=True)
class Culprits(Generic[T]):
    """What was found.

    :param tasks: refused alone, so that batches are refused because of them.
    :param unread: neither read nor found guilty, as the number of reads is limited.
    :param certain: SOPS has answered something else meanwhile, so that it is not SOPS that fails.
    """

    tasks: list[T]
    unread: list[T]
    certain: bool


def find_culprits(chunk: Sequence[T], max_reads: int = MAX_READS) -> Generator[Read[T], bool, Culprits[T] | None]:
    """Halve a refused batch until the tasks that it is refused for are left alone.

    A generator: it yields what to read and is sent whether that was answered (``False``: refused).

    :param chunk: the refused batch, in random order: each search looks elsewhere first.
    :return: ``None`` when a single task is refused as well: SOPS refuses everything, and no task is to blame.
    """
    refused = [list(chunk)]
    culprits: list[T] = []
    unread: list[T] = []
    answered = False
    while refused:
        if len(refused) > 1 and not answered:  # both halves: there are several culprits, or SOPS is not well
            if not (yield Read(refused[0][:1], singly=True)):
                return None
            answered = True
        culprits += [part[0] for part in refused if len(part) == 1]
        parts = [half for part in refused if len(part) > 1 for half in _halves(part)]
        refused = []
        for part in parts:
            if max_reads <= 0:
                unread += part
                continue
            max_reads -= 1
            if (yield Read(part)):
                answered = True
            else:
                refused.append(part)
    return Culprits(culprits, unread, certain=answered)


def _halves(tasks: list[T]) -> tuple[list[T], list[T]]:
    middle = len(tasks) // 2
    return tasks[:middle], tasks[middle:]

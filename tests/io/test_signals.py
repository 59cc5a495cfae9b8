"""Signals become questions or Ctrl-C, and mean afterwards what they meant before."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pretask.io.signals import sigterm_as_ctrl_c, sigterm_kept, stop_requests


def test_sigterm_ends_work_as_ctrl_c_does_and_is_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_handler_that_others_set_does_not_stay() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_kept():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_first_signal_is_a_question_and_a_second_acts() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt), stop_requests() as asked:
            assert not asked()
            os.kill(os.getpid(), signal.SIGINT)
            assert asked()
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone() -> None:
    found = []

    def work() -> None:
        with sigterm_as_ctrl_c(), stop_requests() as asked:
            found.append((signal.getsignal(signal.SIGTERM), asked()))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before, False)]

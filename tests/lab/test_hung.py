# SPDX-License-Identifier: Apache-2.0
"""A process that hangs (SIGSTOP) where the VM stands still: a mover, or the conductor. The ceiling holds all the same, for
the source's mover has a child that ends it, and the conductor looks too."""
import os
import signal
import time
import unittest

from badluck import (CANCELLED, DECIDED, EARLY, EVENTS, FAILED, KILLED, MOVED, SWITCHOVER, BadLuck, Event, Premise, Row, Scene, VM,
                     Witness, add_tests, guest, wait_until)

TIME_LIMIT_S = 600
DRAWN_BY_ROW = ('Hung',)

BOTH = ('source', 'destination')
CEILING_S = 2.0
CEILING = ('--max-downtime', '2s')
BEYOND_GATE_S = 5.0  # the gate is held for 3 s: what it asks for then is not there
BEYOND_GATE = ('--max-downtime', '5s')


def stop_proven(pid):
    os.kill(pid, signal.SIGSTOP)

    def is_stopped():
        with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
            return file.read().rsplit(')', 1)[1].split()[0] == 'T'

    wait_until(is_stopped, 5, f'process {pid} does not stop')


class Back:
    """How long the guest is away from the source after something there was stopped."""

    def __init__(self, source):
        self.source, self.began, self.before = source, time.monotonic(), self.used(source)
        time.sleep(0.2)
        if self.used(source) - self.before > Witness.BUSY_NS:
            raise Premise('the guest was not stopped')

    @staticmethod
    def used(source):
        return sum(Witness.vcpu_ns(source).values())

    def wait(self, scene, whom, ceiling_s):
        wait_until(lambda: self.used(self.source) - self.before > 20_000_000, 60, 'the guest does not come back')
        back = time.monotonic() - self.began
        scene.say(f'the guest is back {back:.2f} s after {whom} was stopped')
        assert back < ceiling_s + 2, f'the guest was away for {back:.2f} s'


class HangMover(Event):
    """It is never continued. BACK: the guest must compute again, at the source, within the ceiling and 2 s. WITHOUT_CHILD: the
    child that watches over it hangs too."""

    def __init__(self, side, without_child=False):
        self.side, self.without_child = side, without_child

    def act(self, scene):
        source = scene.hosts['source']
        children = [pid for pid, line in source.processes('watari guard')]
        if len(children) != 1:
            raise Premise(f'{len(children)} watchdogs at the source')
        movers = scene.movers(self.side)
        if len(movers) != 1:
            raise Premise(f'{len(movers)} movers at the {self.side}')
        if self.without_child:
            stop_proven(children[0])
        stop_proven(movers[0])
        Back(source).wait(scene, f'the {self.side}\'s mover', CEILING_S)

    def undo(self, scene):
        """What still hangs can be ended by its conductor only."""

    def verify(self, report):
        what = report['error']['what']
        if self.side == 'source':
            assert ('neither handed over' if self.without_child else 'hung') in what, what


class HangCli(Event):
    """Stopped for some seconds, then it goes on as if nothing had been."""

    after_s = 8.0

    def act(self, scene):
        self.pid = scene.cli.inner_pid()
        if self.pid is None:
            raise Premise('the CLI had ended')
        stop_proven(self.pid)

    def undo(self, scene):
        os.kill(self.pid, signal.SIGCONT)
        os.kill(scene.cli.pid, signal.SIGCONT)  # nsenter stops with its child


class HangCliForGood(HangCli):
    """Stopped until libvirt at both hosts has given it up; then it is killed. BACK: it hung before the gate, so the guest
    must compute again at the source while it still hangs."""

    def __init__(self, back):
        self.back, self.after_s = back, 0.0 if back else 40.0

    def act(self, scene):
        super().act(scene)
        if self.back:
            Back(scene.hosts['source']).wait(scene, 'the CLI', BEYOND_GATE_S)

    def undo(self, scene):
        os.kill(self.pid, signal.SIGKILL)
        super().undo(scene)


EVENTS.update({
    'SIGSTOP of the source mover': HangMover('source'),
    'SIGSTOP of the source mover and its child': HangMover('source', without_child=True),
    'SIGSTOP of the destination mover': HangMover('destination'),
    'SIGSTOP of the CLI for 8 s': HangCli(),
    'SIGSTOP of the CLI for good': HangCliForGood(back=True),
    'SIGSTOP of the CLI for good, unseen': HangCliForGood(back=False),
})

ROWS = [
    Row('SIGSTOP of the source mover', SWITCHOVER, (FAILED,), options=CEILING),
    Row('SIGSTOP of the source mover and its child', SWITCHOVER, (FAILED,), options=CEILING),
    Row('SIGSTOP of the source mover', DECIDED, (FAILED,), options=CEILING),
    Row('SIGSTOP of the destination mover', SWITCHOVER, (FAILED,), options=CEILING),
    Row('SIGSTOP of the CLI for 8 s', SWITCHOVER, (MOVED, FAILED), BOTH),
    Row('SIGSTOP of the CLI for 8 s', DECIDED, (MOVED,), ('destination',)),
    Row('SIGSTOP of the CLI for good', SWITCHOVER, (KILLED,), options=BEYOND_GATE),
    # the mover cannot know any more whether the hand-over goes on (docs/design.md, "Other corners")
    Row('SIGSTOP of the CLI for good, unseen', DECIDED, (KILLED,)),
]


class Hung(BadLuck):
    lab_name = 'hung'
    scene_class = Scene


    def test_90_libvirtd_does_not_answer(self):
        """It is said, and does not hold whoever cancels."""
        scene = self.scene
        scene.take_sides()
        libvirtd = scene.hosts['destination'].libvirtd_pid()
        os.kill(libvirtd, signal.SIGSTOP)
        try:
            scene.launch(Row('SIGINT', EARLY, (CANCELLED,)))
            wait_until(lambda: 'waiting for an answer' in ''.join(scene.said), 60, 'it is not said that nobody answers')
            scene.cli.send_signal(signal.SIGINT)
            self.assertEqual(scene.cli.wait(30), CANCELLED, ''.join(scene.said))
        finally:
            os.kill(libvirtd, signal.SIGCONT)
        scene.wait_cli()
        self.assertEqual(list(guest.where(scene.lab, VM).values()), ['running'])
        scene.assert_clean()


add_tests(Hung, ROWS)
del BadLuck

if __name__ == '__main__':
    unittest.main()

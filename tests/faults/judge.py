# SPDX-License-Identifier: Apache-2.0
"""The one judge of all cells. Whatever happened to a move: exactly one copy runs, or `watari resolve` makes it so; the guest
has all it ever wrote; nothing is left; and exit code and words are true."""
import glob
import time

import journal
from answers import ATTENTION, ENDS, FAILED, KILLED, MOVED, NOWHERE, REFUSED, SOURCE

CLEAN_S = 10  # what was told to end may need a moment
COMPLAINTS = ('AddressSanitizer', 'LeakSanitizer', 'runtime error:')
MARKS = ('/run/watari/*.finish', '/var/lib/watari/*.finish')


def judge(scene, cell):
    """Where the guest is: a side, or NOWHERE. Says in AssertionError what is wrong."""
    answer, code, document = cell.answer, scene.code, scene.document()
    scene.error = document and document['error']  # kept with the result, for whoever reads the words
    said = ''.join(scene.said)
    told = f'exit code {code}: {said[-3000:]}{"".join(scene.printed)[-2500:]}'
    for complaint in COMPLAINTS:
        assert complaint not in said, told
    if code in (ATTENTION, KILLED):
        scene.resolve()
    side = find_copy(scene, answer)
    scene.say(f'runs at the {side}' if side != NOWHERE else 'the guest is gone, as the fault was its end')
    assert code in answer.codes, told
    assert_words(scene, document, side, told)
    cell.fault.event.verify(scene, document)
    if side == NOWHERE:
        assert_clean(scene, side)
        assert_journal_closed(scene, cell)
        scene.start_guest()
    else:
        if scene.heard and side == SOURCE:
            assert_announced(scene)
        scene.assert_intact()
        assert_clean(scene, side)
        assert_journal_closed(scene, cell)
    witness = scene.witness.end()
    assert not scene.computes or witness.seen[scene.hosts['source'].name], 'the witness saw nothing'
    assert not witness.double, f'two copies ran in {witness.double} of {witness.windows} windows'
    assert_never_back(scene)
    return side


def find_copy(scene, answer):
    where = scene.where()
    if not where and NOWHERE in answer.ends:
        return NOWHERE
    assert list(where.values()) == [scene.runs_as], f'the guest is {where}'
    side = next(side for side, node in scene.hosts.items() if node.name in where)
    assert side in answer.ends, f'the guest runs at the {side}'
    return side


def assert_words(scene, document, side, told):
    """The code agrees with where the VM is, and whoever reads the document knows what to do."""
    code, ends = scene.code, {**ENDS, MOVED: scene.done_at}
    if code == KILLED:
        return
    assert document, f'no document; {told}'
    assert document['exit_code'] == code, told
    if code in ends and side != NOWHERE:
        assert side == ends[code], f'the guest runs at the {side}, {told}'
    error = document['error']
    assert (error is None) == (code == MOVED), told
    if error:
        assert error['what'], told
        assert error['next'] or code not in (REFUSED, FAILED, ATTENTION), f'nobody is told what to do: {told}'


def assert_announced(scene):
    """Whether the destination's QEMU told the network before that the guest is there depends on its version (7.2 does
    not while the guest is stopped); after a return the source tells it in any case."""
    again = len(scene.heard.times) - scene.announced_before
    assert again > 0, 'nobody told the network that the guest is back at the source'
    scene.say(f'announced {scene.announced_before} times before, {again} times after the return')


def assert_never_back(scene):
    """A guest that has computed at the destination has newer memory there than at the source."""
    last, source, destination = scene.witness.last, scene.hosts['source'].name, scene.hosts['destination'].name
    if destination in last and last.get(source, -1) > last[destination] + 1:
        raise AssertionError('the guest went on at the source after it had run at the destination')


def left_behind(scene, side):
    """What a move must not leave at the hosts and where the conductor ran."""
    left = []
    for node in scene.hosts.values():
        left += [f'{node.name}: {line}' for _, line in node.processes('watari') if line.split()[0].endswith('watari')]
        left += [f'{node.name}: {line}' for _, line in node.processes('qemu-nbd')]
        left += [f'{node.name}: {path}' for path in ('/run/watari', '/run/libvirt/watari') if node.exists(path)]
    for node in {scene.conductor.name: scene.conductor, **{host.name: host for host in scene.hosts.values()}}.values():
        left += [f'{node.name}: {line[:200]}' for _, line in node.processes('ssh -T')]
        left += [f'{node.name}: {found}' for pattern in MARKS for found in glob.glob(node.path(pattern))]
        for folder in ('/tmp', '/run', '/run/user/0'):
            left += glob.glob(node.path(f'{folder}/watari-*'))
    qemus = [f'{node.name}: {line[:80]}' for node in scene.hosts.values()
             for _, line in node.processes('qemu-system') if f'guest={scene.vm},' in line]
    left += qemus if len(qemus) != (scene.computes and side != NOWHERE) else []
    return left + scene.left_behind(side)


def assert_clean(scene, side):
    end = time.monotonic() + CLEAN_S
    while (left := left_behind(scene, side)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left, f'left behind: {left}'
    for node in scene.hosts.values():
        if scene.computes and side != NOWHERE and node.virsh('domstate', scene.vm, check=False).returncode == 0:
            job = node.virsh('domjobinfo', scene.vm).stdout
            assert 'None' in job, f'a job is left at {node.name}: {job}'


def assert_journal_closed(scene, cell):
    """No move of the VM is open any more in any journal, but in one that the fault itself spoiled."""
    if cell.fault.event.spoils_journal:
        return
    for node in [*scene.hosts.values(), scene.lab.admin]:
        rows = journal.open_moves(node, scene.vm)
        assert not rows, f'open in the journal of {node.name}: {rows}'

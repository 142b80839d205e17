# SPDX-License-Identifier: Apache-2.0
"""The built program as a user meets it: it speaks Japanese, and what the documents show exists."""
import json
import os
import pathlib
import re
import subprocess
import tempfile

from . import layers
from .messages import JAPANESE, extract, parse_po
from .tally import TOP

DOCUMENTS = ('README.md', 'README.ja.md')


def run_watari(tree, arguments, environment=None):
    """Runs the program; returns (status, all it said)."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(('LC_', 'LANG'))}
    done = subprocess.run([str(tree / 'src' / 'cli' / 'watari'), *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                          env={**clean, **(environment or {})}, timeout=60, check=False)
    return done.returncode, done.stdout


def japanese_environment(tree, folder):
    """A Japanese locale made for this run: gettext translates nothing in the C locale."""
    subprocess.run(['localedef', '-i', 'ja_JP', '-f', 'UTF-8', str(pathlib.Path(folder) / 'ja_JP.UTF-8')],
                   check=True, capture_output=True)
    return {'LOCPATH': folder, 'LANG': 'ja_JP.UTF-8', 'WATARI_LOCALEDIR': str(tree / 'po')}


def check_japanese(tree):
    """uninstalled, the program speaks Japanese in a Japanese locale"""
    with tempfile.TemporaryDirectory() as folder:
        environment = japanese_environment(tree, folder)
        for arguments in (['--help'], ['migrate', '--help'], ['no-such-command'], ['migrate', '--no-such-option']):
            _, english = run_watari(tree, arguments, {'LC_ALL': 'C.UTF-8'})
            if JAPANESE.search(english):
                yield f'watari {" ".join(arguments)}: Japanese in the C locale'
            _, text = run_watari(tree, arguments, environment)
            if not JAPANESE.search(text):
                yield f'watari {" ".join(arguments)}: no Japanese in\n{text[:400]}'


def shown_commands():
    for name in DOCUMENTS:
        for block in re.findall(r'```sh\n(.*?)```', (TOP / name).read_text(), re.S):
            for line in block.splitlines():
                words = re.sub(r'\s*#.*', '', line).split()
                if words[:1] == ['watari']:
                    yield name, words[1], [word for word in words[2:] if word.startswith('-')]


def check_shown_commands(tree):
    """the program has the commands and options that the READMEs show"""
    for name, command, options in shown_commands():
        status, text = run_watari(tree, [command, '--help'])
        if status:
            yield f'{name}: watari {command}: {text[:200]}'
        yield from (f'{name}: watari {command} has no {option}' for option in options if option not in text)


def check_named_options(tree):
    """the options and commands that messages tell people to use exist"""
    _, overview = run_watari(tree, ['--help'])
    commands = re.findall(r'^  ([a-z]+) ', overview, re.M)
    helps = overview + ''.join(run_watari(tree, [command, '--help'])[1] for command in commands)
    known = set(re.findall(r'--[a-z][a-z-]*', helps)) | {'--complete'}
    with tempfile.TemporaryDirectory() as folder:
        texts = [entry['msgid'] for entry in parse_po(extract(folder))]
    for text in texts:
        for match in re.finditer(r'(?<![\w-])--[a-z][a-z-]*', text):
            theirs = re.search(r'\b(virsh|ssh|hostnamectl|journalctl|firewall-cmd|sysctl)\b[^.;()“”]*$', text[:match.start()])
            if match[0] not in known and not theirs:
                yield f'there is no option {match[0]}: {text}'
        for match in re.finditer(r'“watari ([a-z]+)', text):
            if match[1] not in commands:
                yield f'there is no command {match[1]}: {text}'


def check_reach_of_hosts(tree):
    """every command that goes to hosts can be told how to reach them, and where the program is there"""
    for command in ('migrate', 'quick', 'plan', 'rehearse', 'resolve', 'doctor'):
        _, text = run_watari(tree, [command, '--help'])
        yield from (f'watari {command} has no {option}' for option in ('--rsh', '--remote-watari') if option not in text)


def check_reading(tree):
    """commands that only read create nothing, and an unreadable journal is refused alike by all"""
    with tempfile.TemporaryDirectory() as folder:
        none, broken = pathlib.Path(folder) / 'none', pathlib.Path(folder) / 'broken'
        (broken / 'journal.sqlite').mkdir(parents=True)
        for arguments, expected in ((['status'], 0), (['score'], 0), (['watch', 'vm'], 3), (['cancel', 'vm'], 3),
                                    (['tune', '--no-postcopy', 'vm'], 3)):
            status, text = run_watari(tree, arguments, {'WATARI_STATE_DIR': str(none)})
            if status != expected or none.exists():
                yield f'watari {arguments[0]} without a journal: {status}, {"made one" if none.exists() else text}'
            status, text = run_watari(tree, arguments, {'WATARI_STATE_DIR': str(broken)})
            if status != 3:
                yield f'watari {arguments[0]} with a journal that cannot be read: {status}: {text}'
        status, text = run_watari(tree, ['score', '--json'], {'WATARI_STATE_DIR': str(none)})
        if json.loads(text)['total_ms'] != {'count': 0, 'median_error': None, 'within_p90': None, 'within_half': None}:
            yield f'watari score --json of no moves: {text}'


def check_usage_documents(tree):
    """every command answers nonsense with the same short document under --json"""
    _, overview = run_watari(tree, ['--help'])
    for command in ['no-such-command', *re.findall(r'^  ([a-z]+) ', overview, re.M)]:
        if command == 'mover':  # for programs only, it has no --json
            continue
        status, text = run_watari(tree, [command, '--json', '--no-such-option'])
        document = json.loads(text[text.index('{'):text.rindex('}') + 1])
        if status != 2 or set(document) != {'format', 'watari', 'outcome', 'exit_code', 'error'} or document['exit_code'] != 2:
            yield f'watari {command}: {status}: {text}'


MEANINGLESS = (['migrate', '--max-stop', '10s'], ['migrate', '--strategy', 'quick', '--max-downtime', '1s'],
               ['migrate', '--offline', '--yes'], ['migrate', '--offline', '--verify-memory', 'full'],
               ['migrate', '--strategy', 'quick', '--max-slowdown', '50'], ['migrate', '--strategy', 'quick', '--allow-postcopy'])


def check_meaning(tree):
    """an option that means nothing for this kind of move is refused by its name, before any host is asked"""
    for words in MEANINGLESS:
        status, text = run_watari(tree, [*words, 'vm', 'host'])
        option = next(word for word in reversed(words) if word.startswith('--'))
        if status != 2 or option not in text or 'no meaning' not in text or 'connecting' in text:
            yield f'watari {" ".join(words)}: {status}: {text}'


def check_version(tree):
    """the version names the commit that the program was built of"""
    _, text = run_watari(tree, ['--version'])
    told = subprocess.run(['git', 'describe', '--always', '--dirty', '--abbrev=10', '--exclude=*'], cwd=TOP,
                          capture_output=True, text=True, check=False)
    commit = told.stdout.strip() if told.returncode == 0 else 'release'
    if not re.fullmatch(rf'watari \d+\.\d+\.\d+\+{re.escape(commit)}', text.strip()):
        yield f'{text.strip()} of {commit}'


def check_silent_doctor(tree):
    """doctor says nothing of a libvirt that does not answer"""
    if any(os.path.exists(f'/run/libvirt/{name}') for name in ('libvirt-sock', 'virtqemud-sock')):
        return  # one runs here
    _, text = run_watari(tree, ['doctor', '--json'])
    said = {check['check'] for check in json.loads(text)['hosts'][0]['checks']}
    if 'libvirt' not in said or said & {'keepalive', 'security', 'userfaultfd', 'qemu', 'memory'}:
        yield f'without libvirt doctor speaks of {sorted(said)}'


def run(tally, options, tree):
    for check in (check_japanese, check_shown_commands, check_named_options, check_reading, check_usage_documents,
                  check_silent_doctor, check_meaning, check_version, check_reach_of_hosts, layers.check_calls):
        what = check.__doc__
        if options.only and options.only not in what:
            continue
        complaints = list(check(tree))
        tally.single('program', what, not complaints, '\n'.join(complaints))

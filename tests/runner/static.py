# SPDX-License-Identifier: Apache-2.0
"""Checks of the tree itself: each function named check_* is one case and returns its complaints."""
import argparse
import pathlib
import re
import shutil
import subprocess

from . import durations, layers, messages
from .tally import TOP

SOURCE = ('.c', '.h', '.py', '.sh', '.build')
NO_LICENCE_LINE = re.compile(r'(^|/)(LICENSE|\.gitignore|packages|durations|POTFILES|LINGUAS)$|\.(md|txt|svg|png|xml|json|ini|in)$'
                             r'|^tests/fuzz/corpus/|^tests/data/')
# Where a machine's or a person's own paths would show.
HOME_PATH = re.compile(r'(?<![\w.$}/-])/(?:home|Users|work)/?[\w.-]*')
MIRROR = re.compile(r'\b(?:deb|ftp|security|snapshot|archive)\.(?:[a-z]+\.)?(?:debian|ubuntu)\.')
LINK = re.compile(r'\]\((?!https?://|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)')
MAKE_TARGET = re.compile(r'\bmake ((?:[a-z][a-z-]*))\b')


def tracked():
    """Files of the tree: known to git, or new and not ignored."""
    done = subprocess.run(['git', '-c', f'safe.directory={TOP}', 'ls-files', '-z', '--cached', '--others',
                           '--exclude-standard'], cwd=TOP, stdout=subprocess.PIPE, check=False)
    if done.returncode == 0:
        names = [name for name in done.stdout.decode().split('\0') if name]
    else:  # an unpacked archive
        names = [str(path.relative_to(TOP)) for path in TOP.rglob('*')
                 if path.is_file() and not path.relative_to(TOP).parts[0].startswith(('build', '.git'))]
    return [name for name in sorted(names) if (TOP / name).is_file() and not (TOP / name).is_symlink()]


def text_of(name):
    """A file's text, or None for a binary one."""
    data = (TOP / name).read_bytes()
    if b'\0' in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def is_script(name, text, interpreter):
    return bool(re.match(rf'#!\s*/\S*\b(env )?{interpreter}\b', text))


def check_licence_lines(names):
    """every source file names its licence in its first lines"""
    for name in names:
        if NO_LICENCE_LINE.search(name):
            continue
        text = text_of(name)
        if text is not None and text.strip() and 'SPDX-License-Identifier: Apache-2.0' not in '\n'.join(text.split('\n')[:4]):
            yield f'{name}: no SPDX-License-Identifier line'


def check_purpose(names):
    """every source file of the program says its purpose in its first lines"""
    for name in names:
        if name.startswith('src/') and name.endswith(('.c', '.h')):
            lines = text_of(name).split('\n')
            if not lines[1].startswith('/* ') or re.match(r'/\* See [\w/]+\.h\.? \*/', lines[1]):
                yield f'{name}: no purpose'


def check_manual_lists_members(_names):
    """the manual lists each member of the report"""
    listed = set(re.findall(r'[\w-]+', ' '.join(re.findall(r'^\.It Cm (.*)$', text_of('man/watari-migrate.1.in'), re.M))))
    members = re.search(r'names\[\] = \{(.*?)\};', text_of('tests/unit/test-report.c'), re.S)[1]
    yield from (f'{member}: not in man/watari-migrate.1.in' for member in re.findall(r'"(\w+)"', members) if member not in listed)


def check_messages_declared(names):
    """what conductor and movers say to each other stands in one header, and in docs/control.md"""
    header, docs = text_of('src/control/messages.h'), text_of('docs/control.md')
    for word in re.findall(r'^#define (?:MESSAGE|EVENT)_\w+ "([a-z-]{3,})"', header, re.M):
        if not re.search(rf'\b{word}\b', docs):
            yield f'docs/control.md does not say what “{word}” is'
    said = re.compile(r'\b(?:dialogue_message|message_new|dialogue_take)\([^;]*?"[a-z-]+"|\btransfer_post\([^;]*?, "[a-z-]+"'
                      r'|\{ "[a-z-]+", (?:true|false), \w+ \}')
    for name in names:
        if name.startswith(('src/mover/', 'src/conductor/')) and name.endswith('.c'):
            for found in said.findall(text_of(name)):
                yield f'{name}: {found}: it has no constant of src/control/messages.h'


def check_private_names(names):
    """no two files of the program have a private function of one name, but where it fills the same place of a table"""
    homes = {}
    for name in names:
        if name.startswith('src/') and name.endswith('.c'):
            text = text_of(name)
            for found in set(re.findall(r'^static (?!inline\b)(?:[\w*]+[\s*]+)+(\w+)\(', text, re.M)):
                if not re.search(rf'\.\w+ = {found}\b', text):
                    homes.setdefault(found, []).append(name)
    for found, places in sorted(homes.items()):
        if len(places) > 1:
            yield f'{found}(): {", ".join(places)}'


def check_format(names):
    """C files are as clang-format leaves them"""
    sources = [name for name in names if name.endswith(('.c', '.h'))]
    if not sources:
        return
    done = subprocess.run(['clang-format', '--dry-run', '-Werror', *sources], cwd=TOP, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        places = sorted({line.split(':')[0] for line in done.stdout.splitlines() if ': error:' in line})
        yield from (f'{name}: run "make format"' for name in places or [done.stdout[:500]])


def check_shell(names):
    """shell scripts parse"""
    for name in names:
        text = text_of(name) or ''
        for shell in ('sh', 'bash'):
            if is_script(name, text, shell) and shutil.which(shell):
                done = subprocess.run([shell, '-n', str(TOP / name)], capture_output=True, text=True, check=False)
                if done.returncode:
                    yield done.stderr.strip()


def check_python(names):
    """Python files compile"""
    for name in names:
        text = text_of(name) or ''
        if name.endswith('.py') or is_script(name, text, r'python3?'):
            try:
                compile(text, name, 'exec')
            except SyntaxError as wrong:
                yield f'{name}: {wrong}'


def check_scripts_run(names):
    """scripts are executable and Python ones use Debian's interpreter"""
    for name in names:
        text = text_of(name) or ''
        if not text.startswith('#!'):
            continue
        if not (TOP / name).stat().st_mode & 0o111:
            yield f'{name}: begins with #! but is not executable'
        if 'python' in text.split('\n', 1)[0] and not text.startswith('#!/usr/bin/python3\n'):
            yield f'{name}: should begin with #!/usr/bin/python3'


def check_manual(names):
    """manual pages that are not made by the build are clean for mandoc"""
    for name in names:
        if re.search(r'^man/.*\.[1-8]$', name):
            done = subprocess.run(['mandoc', '-T', 'lint', '-W', 'warning', str(TOP / name)],
                                  capture_output=True, text=True, check=False)
            if done.returncode >= 2:
                yield (done.stdout + done.stderr).strip().replace(str(TOP) + '/', '')


def check_no_private_paths(names):
    """no path of a developer's machine"""
    own = re.compile(r'(?<![\w.$}/-])' + re.escape(str(TOP)) + r'\b')
    for name in names:
        text = text_of(name)
        if text is None or name == 'tests/runner/static.py':
            continue
        for number, line in enumerate(text.split('\n'), 1):
            if HOME_PATH.search(line) or own.search(line):
                yield f'{name}:{number}: {line.strip()[:120]}'


def check_no_mirror(names):
    """no mirror of packages is named: the machine's own apt knows one"""
    for name in names:
        text = text_of(name) if name.startswith(('lab/', 'tests/', 'tools/')) else None
        for number, line in enumerate((text or '').split('\n'), 1):
            if MIRROR.search(line):
                yield f'{name}:{number}: {line.strip()[:120]}'


def check_readme_commands(names):
    """what the documents tell people to run exists"""
    targets = set(re.findall(r'^([a-z][a-z-]*):', (TOP / 'Makefile').read_text(), re.M))
    for name in names:
        if not name.endswith('.md'):
            continue
        text = text_of(name) or ''
        code = '\n'.join(re.findall(r'```.*?```', text, re.S)) + '\n'.join(re.findall(r'`[^`\n]+`', text))
        for target in MAKE_TARGET.findall(code):
            if target not in targets:
                yield f'{name}: "make {target}": no such target'
        for path in re.findall(r'(?<![\w/.-])((?:tools|lab|bench|tests|src)/[a-z_/-]+(?:\.[a-z]+)?)(?=[\s`])', code):
            foreign = path.startswith('src/') and not (TOP / 'src' / path.split('/')[1]).is_dir()  # libvirt's, QEMU's
            if not foreign and not (TOP / path).exists():
                yield f'{name}: {path}: no such file'
        for target in LINK.findall(text):
            if not ((TOP / name).parent / target).exists():
                yield f'{name}: link to {target}: no such file'


def check_both_readmes(names):
    """README.md and README.ja.md show the same commands and sections"""
    english, japanese = (text_of(name) or '' for name in ('README.md', 'README.ja.md'))

    def commands(text):
        blocks = re.findall(r'```(?:sh|console)\n(.*?)```', text, re.S)
        return [re.sub(r'\s*#.*', '', line).strip() for block in blocks for line in block.splitlines()
                if re.sub(r'\s*#.*', '', line).strip()]

    if commands(english) != commands(japanese):
        yield from (f'only in one of them: {line}' for line in sorted(set(commands(english)) ^ set(commands(japanese))))
        yield 'the command blocks differ'
    heads = [len(re.findall(r'^## ', text, re.M)) for text in (english, japanese)]
    if heads[0] != heads[1]:
        yield f'{heads[0]} sections in English, {heads[1]} in Japanese'
    if len(re.findall(r'[぀-ヿ一-鿿]', japanese)) < 500:
        yield 'README.ja.md is hardly Japanese'


def check_setup_knows(names):
    """tools/setup looks for every library that the build asks for"""
    setup = (TOP / 'tools' / 'setup').read_text()
    known = set(re.findall(r'[\w.+-]+', re.search(r'^modules="(.*?)"', setup, re.M | re.S)[1]))
    for name in names:
        if name.endswith('meson.build'):
            for module in re.findall(r"dependency\('([^']+)'(?![^)]*required: false)", text_of(name) or ''):
                if module not in known | {'threads'}:
                    yield f'{name}: {module} is not in the modules of tools/setup'


def check_manual_lists_checks(names):
    """the manual lists every check that is made before a move, and no other"""
    manual = re.search(r'^\.Ss Checks$(.*?)^\.Ss ', (TOP / 'man' / 'watari-migrate.1.in').read_text(), re.M | re.S)[1]
    told = set(re.findall(r'Cm ([a-z-]+)', manual))
    made = set()
    for name in names:
        if re.search(r'^src/(host/(checks/check[a-z_]*|belongings/[a-z_]+)|conductor/prepare/earlier_moves)\.c$', name):
            text = text_of(name) or ''
            made |= set(re.findall(r'check_add(?:_virt)?\(\s*(?:context(?:->findings)?|move->report->findings),\s*"([a-z-]+)', text))
            made |= set(re.findall(r'want_socket\(\w+, "([a-z-]+)"', text))
            made |= set(re.findall(r'check = g_strdup_printf\("([a-z-]+):', text))
            if '/belongings/' not in name:  # its list begins likewise
                made |= set(re.findall(r'\{ "([a-z]+)", "(?:devices/|launchSecurity)', text))
    table = (text_of('src/host/checks/check_accept.c') or '').split('of a plan or rehearsal')[0]
    rows = dict(re.findall(r'\{ "([a-z-]+)",\s*(NULL|N_\()', table))
    for word in sorted(made ^ set(rows)):
        yield f'{word}: ' + ('not in the table of src/host/checks/check_accept.c' if word in made else 'no such check')
    fixed = set(re.findall(r'Cm ([a-z-]+)', re.search(r'cannot be overruled:(.*)', manual, re.S)[1]))
    for word in sorted(fixed ^ {name for name, reason in rows.items() if reason != 'NULL'}):
        yield f'{word}: manual and src/host/checks/check_accept.c do not agree whether it can be overruled'
    for word in sorted(told ^ made):
        yield f'{word}: ' + ('not in man/watari-migrate.1.in' if word in made else 'no such check')


def check_time_of_tests(_names):
    """the whole check is over in its time, by what was measured of its tests"""
    folder = TOP / 'tests' / 'lab'
    paths = sorted(folder.glob('test_*.py'))
    choice = durations.Choice(paths, argparse.Namespace(long=False, only=None, draw=None))
    choice.table = durations.read_table(durations.TABLE)
    expected = durations.seconds_of(durations.PARTS, paths, choice, unknown_s=0)
    if sum(expected.values()) > durations.LIMIT_S:
        yield f'{durations.forecast_line(expected)} At most {durations.LIMIT_S // 60} are wanted.'
    gone = {key[1] for key in choice.table if key[0] == 'lab' and key[1] != '-'} - {path.name for path in folder.glob('*.py')}
    yield from (f'tests/durations names {name}, which is not there' for name in sorted(gone))


# What waits, or measures, by the clock that whoever sets the host's time moves.
WALL_CLOCK = re.compile(r'CLOCK_REALTIME|\bpthread_cond_(?:timedwait|init|clockwait)\b|\bPTHREAD_COND_INITIALIZER\b'
                        r'|\bpthread_(?:mutex_timedlock|rwlock_timed\w+|timedjoin_np)\b|\b(?:sem|mq)_timed\w+|\bcnd_\w+|\bmtx_timedlock\b'
                        r'|\bg_get_(?:real|current)_time\b|\bg_date_time_new_now\w*|\bgettimeofday\b|\btime\((?:NULL|&)|\bftime\b')
# Files that may, and what for.
CALENDAR = {
    'src/base/wait.c': 'makes the condition variables that wait by the monotonic clock',
    'src/cli/plan_file.c': 'when a plan was made',
    'src/conductor/measure/prediction.c': 'how many days ago a move was',
    'src/conductor/measure/phase_measure.c': 'by how much the clocks of the hosts differ',
    'src/conductor/core/report.c': 'when a move began',
    'src/mover/compare/digests.c': 'whether a file was changed just now, by the date that it has',
    'src/mover/commands.c': 'by how much the clocks of the hosts differ',
    'src/journal/journal.c': 'when an event was',
}


def check_no_wall_clock(names):
    """nothing waits by the wall clock, or measures by it"""
    used = set()
    for name in names:
        if not re.search(r'^src/.*\.[ch]$', name):
            continue
        for number, line in enumerate((text_of(name) or '').split('\n'), 1):
            if not (found := WALL_CLOCK.search(line)):
                continue
            used.add(name)
            if name not in CALENDAR:
                yield f'{name}:{number}: {found[0]}: use base/wait.h or base/clock.h; a date may be noted in the files of CALENDAR'
    for name in sorted(CALENDAR.keys() - used):
        yield f'{name}: is in the list of those that may know the date, and does not use it'


CHECKS = [layers.check_includes, check_purpose, check_private_names, check_manual_lists_members, check_messages_declared, check_no_wall_clock, check_time_of_tests, check_setup_knows, check_manual_lists_checks, check_licence_lines, check_format, check_shell, check_python, check_scripts_run, check_manual,
          check_no_private_paths, check_no_mirror, check_readme_commands, check_both_readmes, *messages.CHECKS]


def run(tally, options):
    tally.head('static checks')
    names = tracked()
    for check in CHECKS:
        what = check.__doc__.splitlines()[0]
        if options.only and options.only not in what and options.only not in check.__name__:
            continue
        try:
            complaints = list(check(names))
        except OSError as wrong:  # a tool that is not there
            complaints = [str(wrong)]
        tally.single('static', what, not complaints, '\n'.join(complaints))

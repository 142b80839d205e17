# SPDX-License-Identifier: Apache-2.0
"""What came of the cells: a file for each, written whole or not at all, so that a run can be killed and taken up; and the
page docs/faults.md that is made of them."""
import json
import os
import pathlib
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
FOLDER = TOP / 'build' / 'faults'
PAGE = TOP / 'docs' / 'faults.md'
BEGIN, END = '<!-- results: written by tests/faults/run --write -->', '<!-- end of results -->'


def commit():
    done = subprocess.run(['git', '-C', str(TOP), 'describe', '--always', '--dirty', '--abbrev=10'], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip() or 'unknown'


def keep(cell, result):
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / cell.file_name
    new = path.with_suffix(f'.new{os.getpid()}')
    with open(new, 'w', encoding='utf-8') as file:
        json.dump({'cell': cell.name, **result}, file, indent=1)
        file.write('\n')
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def load(cell):
    """What is known of a cell, None: nothing."""
    try:
        result = json.loads((FOLDER / cell.file_name).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return result if result.get('cell') == cell.name else None


# ---- the page ----


def mark(cell):
    if cell.why_not:
        return '–'
    result = load(cell)
    if not result:
        return 'not run'
    if not result['passed']:
        return '**failed**'
    side = {'source': 'S', 'destination': 'D', 'nowhere': 'gone'}[result['side']]
    words = [side, 'killed' if result['code'] == 137 else str(result['code']), *result['situations'][-1:]]
    return ' '.join(words)


def grid(cells, way):
    """A row for each fault and place, a column for each moment."""
    columns = [moment.name for moment in way.moments]
    yield f'| {way.name} | ' + ' | '.join(columns) + ' |'
    yield '|---' * (len(columns) + 1) + '|'
    rows = {}
    for cell in cells:
        where = '' if cell.place == 'admin' else f', conductor at the {cell.place}'
        rows.setdefault(cell.fault.name + where, {})[cell.moment.name] = mark(cell)
    for name, marks in rows.items():
        yield f'| {name} | ' + ' | '.join(marks.get(column, '–') for column in columns) + ' |'
    yield ''


def text_of(cells):
    run = [cell for cell in cells if not cell.why_not]
    known = [result for result in map(load, run) if result]
    passed = [result for result in known if result['passed']]
    commits = sorted({result['commit'] for result in known})
    seconds = sorted(result['seconds'] for result in known)
    middle = f', {seconds[len(seconds) // 2]:.0f} s in the middle' if seconds else ''
    yield (f'{len(run)} cells, {len(passed)} passed, {len(known) - len(passed)} failed, {len(run) - len(known)} not run yet; '
           f'together {sum(seconds) / 60:.0f} min{middle}. Commits: {", ".join(commits) or "none"}.')
    yield ''
    for way in dict.fromkeys(cell.way for cell in cells):
        yield from grid([cell for cell in cells if cell.way is way], way)
    reasons = {}
    for cell in cells:
        if cell.why_not:
            reasons.setdefault((cell.way.name, cell.fault.name, cell.why_not), []).append(cell.moment.name)
    if reasons:
        yield '## Not run'
        yield ''
    for (way, fault, why), moments in reasons.items():
        yield f'- {way}, {fault} ({", ".join(dict.fromkeys(moments))}): {why}'


def write_page(cells):
    """The part between the marks; the rest of the page is written by hand."""
    page = PAGE.read_text(encoding='utf-8')
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text('\n'.join([f'{before}{BEGIN}', '', *text_of(cells), '', f'{END}{after}']), encoding='utf-8')

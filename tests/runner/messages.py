# SPDX-License-Identifier: Apache-2.0
"""Checks of what the program says to people: every message is in the catalogue and translated."""
import ast
import os
import pathlib
import re
import subprocess
import tempfile

from .tally import TOP

JAPANESE = re.compile(r'[぀-ヿ一-鿿]')
FORMAT = re.compile(r'%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z|j|t)?[a-zA-Z%]|%(?:"\s*)?<?PRI\w+>?')
# Messages that are the same in every language: names, units, formats without words.
SAME = re.compile(r'^(?:[\W\d_]|[kKMGT]?i?B(?:/s)?\b|m?s\b|min\b|watari\b|libvirt\b|QEMU\b|ssh\b|JSON\b|TLS\b|TCP\b'
                  r'|CPU\b|UUID\b|VM\b|DEST\b|HOST\b|PORT\b|NAME\b|URI\b|N\b)*$')
MARK = re.compile(r'(?<![\w"])N?_\("|\bngettext\(')


def parse_po(path):
    """The entries of a catalogue: (msgid, [msgstr...], flags, obsolete)."""
    entries, entry, key = [], None, None

    def close():
        if entry and entry['msgid'] is not None:
            entries.append(entry)

    for line in path.read_text().splitlines() + ['']:
        if not line.strip():
            close()
            entry, key = None, None
            continue
        entry = entry or {'msgid': None, 'plural': None, 'msgstr': [], 'flags': '', 'obsolete': False}
        if line.startswith('#~'):
            entry['obsolete'] = True
            continue
        if line.startswith('#,'):
            entry['flags'] += line[2:]
            continue
        if line.startswith('#'):
            continue
        match = re.match(r'(msgctxt|msgid|msgid_plural|msgstr(?:\[\d+\])?)\s+(".*")$', line)
        if match:
            key, value = match[1], ast.literal_eval(match[2])
            if key == 'msgid':
                entry['msgid'] = value
            elif key == 'msgid_plural':
                entry['plural'] = value
            elif key.startswith('msgstr'):
                entry['msgstr'].append(value)
        elif line.startswith('"') and key:
            value = ast.literal_eval(line)
            if key == 'msgid':
                entry['msgid'] += value
            elif key == 'msgid_plural':
                entry['plural'] += value
            elif key.startswith('msgstr'):
                entry['msgstr'][-1] += value
    return entries


def languages():
    return (TOP / 'po' / 'LINGUAS').read_text().split()


def potfiles():
    lines = (TOP / 'po' / 'POTFILES').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def extract(folder):
    """All messages of the sources, as xgettext sees them."""
    template = pathlib.Path(folder) / 'watari.pot'
    subprocess.run(['xgettext', '--from-code=UTF-8', '--keyword=_', '--keyword=N_', '--keyword=ngettext:1,2',
                    '--add-comments=TRANSLATORS', '-o', str(template), *potfiles()],
                   cwd=TOP, check=True, capture_output=True)
    return template


def check_potfiles(names):
    """po/POTFILES lists every file with messages, and no other"""
    marked = {name for name in names if name.startswith('src/') and name.endswith('.c')
              and MARK.search((TOP / name).read_text())}
    for name in sorted(marked ^ set(potfiles())):
        yield f'{name}: ' + ('missing in po/POTFILES' if name in marked else 'has no messages (any more)')


def check_catalogues_complete(names):
    """every message is translated, and the translation is not the English text"""
    with tempfile.TemporaryDirectory() as folder:
        needed = {entry['msgid'] for entry in parse_po(extract(folder)) if entry['msgid']}
    for language in languages():
        known = {}
        for entry in parse_po(TOP / 'po' / f'{language}.po'):
            if not entry['obsolete']:
                known[entry['msgid']] = entry
        for message in sorted(needed):
            short = repr(message[:90])
            entry = known.get(message)
            if entry is None:
                yield f'po/{language}.po: missing: {short}'
            elif 'fuzzy' in entry['flags']:
                yield f'po/{language}.po: marked fuzzy: {short}'
            elif not entry['msgstr'] or not all(entry['msgstr']):
                yield f'po/{language}.po: not translated: {short}'
            elif SAME.match(FORMAT.sub('', message)):
                continue
            elif message in entry['msgstr']:
                yield f'po/{language}.po: copied from English: {short}'
            elif language == 'ja' and FORMAT.sub('', message).strip(' :') and not all(map(JAPANESE.search, entry['msgstr'])):
                yield f'po/{language}.po: not Japanese: {short}'
        for message in sorted(set(known) - needed - {''}):
            yield f'po/{language}.po: no longer used: {message[:90]!r}'


def check_catalogues_valid(names):
    """the catalogues are valid and their formats match"""
    for language in languages():
        done = subprocess.run(['msgfmt', '-c', '-o', os.devnull, f'po/{language}.po'], cwd=TOP,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            yield done.stderr.strip()


def check_formats_extractable(names):
    """no message is cut short by a macro that xgettext does not know (use PRIu64 and its like)"""
    cut = re.compile(r'N?_\((?:\s*"(?:[^"\\]|\\.)*")+\s*(?!PRI[dioux])(\w+)')
    for name in names:
        if name.startswith('src/') and name.endswith('.c'):
            text = (TOP / name).read_text()
            for match in cut.finditer(text):
                yield f'{name}:{text.count(chr(10), 0, match.end()) + 1}: {match[1]}'


def check_messages_marked(names):
    """messages of errors go through gettext"""
    bare = re.compile(r'\b(?:error_set|error_prefix)\((?:[^"();]|\((?:[^()"]|"(?:[^"\\]|\\.)*")*\))*?'
                      r'(?<!_\()("[^"]*")', re.S)
    for name in names:
        if not (name.startswith('src/') and name.endswith('.c')) or name == 'src/base/error.c':
            continue
        text = (TOP / name).read_text()
        for match in bare.finditer(text):
            words = re.sub(r'^"(\w+: |--[\w-]+"$|[a-z]+"$)', '', FORMAT.sub('', match[1]))  # "eventfd: %s", "--rsh", a code word
            if re.search(r'[A-Za-z]{2}', words):
                yield f'{name}:{text.count(chr(10), 0, match.end()) + 1}: a message without _(): {match[1]}'


CHECKS = [check_potfiles, check_catalogues_complete, check_catalogues_valid, check_formats_extractable, check_messages_marked]

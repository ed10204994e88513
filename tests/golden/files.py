#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""files.py - segments that were written once: does the tool still read them, and repair them?

    files.py TOOL NAME [--update] [WORD]

Each file in files/ is unpacked as the map NAME and checked; what the tool says is compared with
the text beside it. A broken one is repaired, in each way, and what is there then is compared too.
segment.py has to find something in the same files. Of the sound ones, and of all that were
repaired, compare.py has it and the tool tell the same. WORD takes those whose names have it.
--update writes the texts anew, to be read before they are committed.

A later version of the format may refuse all of these files; then it has to say so by their version.
"""
import glob
import hashlib
import io
import json
import lzma
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout

import compare
import segment

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'files')
PAGE = 4096
FINDINGS, SUMMARY = 10, 4      # lines shown of an output, at its beginning and at its end
OLD_FORMAT = re.compile(r'format version 1; this library knows ([2-9]|\d\d)')


class Runner:
    def __init__(self, tool, name):
        self.tool, self.name = os.path.abspath(tool), name
        self.path = '/dev/shm/' + name
        self.out = []

    def say(self, line):
        self.out.append(line.replace(self.name, 'NAME'))

    def run(self, *args):
        r = subprocess.run([self.tool, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           check=False)
        return r.returncode, r.stdout.decode(errors='replace') + r.stderr.decode(errors='replace')

    def show(self, verb, *args):
        rc, out = self.run(verb, self.name, *args)
        self.say(f'$ ipcmap {" ".join((verb, "NAME", *args))}')
        lines = out.splitlines()
        more = len(lines) - FINDINGS - SUMMARY
        if more > 1:
            lines[FINDINGS:-SUMMARY] = [f'({more} more lines)']
        for line in lines:
            self.say(line)
        if rc:
            self.say(f'status {rc}')
        return rc, out

    def forget(self):
        for end in ('', '.damaged', '.repair'):
            if os.path.exists(self.path + end):
                os.unlink(self.path + end)

    def unpack(self, data):
        """Sparse, as it was."""
        self.forget()
        with open(self.path, 'wb') as f:
            for at in range(0, len(data), PAGE):
                page = data[at:at + PAGE]
                if any(page):
                    f.seek(at)
                    f.write(page)
            f.truncate(len(data))

    def content(self):
        """What readers find: how many keys, and a sum of all that is told of them."""
        _, out = self.run('dump', '--info', self.name)
        keys = []
        for line in out.splitlines():
            item = json.loads(line)
            item['ttl_ms'] = 'ttl_ms' in item
            keys.append(json.dumps(item, sort_keys=True))
        total = hashlib.sha256('\n'.join(sorted(keys)).encode()).hexdigest()[:16]
        self.say(f'{len(keys)} keys, {total}')
        _, out = self.run('snapshot', 'ls', '--json', self.name)
        for line in sorted(out.splitlines()):
            v = json.loads(line)
            self.say(f'table {v["table"]}: version {v["version"]}, {v["keys"]} keys' +
                     (', current' if v['current'] else ''))

    def compare(self, want=0):
        text = io.StringIO()
        with redirect_stdout(text):
            rc = compare.compare(self.tool, self.name)
        if rc != want:
            self.say(f'segment.py and the tool do not agree: {rc}')
            for line in text.getvalue().splitlines():
                self.say(line)

    def read(self, rc):
        """Does segment.py find something if and only if check does?"""
        try:
            found = segment.Segment(self.path).findings
        except segment.Broken as e:
            found = [str(e)]
        if bool(found) != bool(rc):
            self.say('segment.py does not agree: ' + (found[0] if found else 'it finds nothing'))

    def repair(self, data, *args):
        self.unpack(data)
        rc, _ = self.show('repair', *args)
        left = [end for end in ('.damaged', '.repair') if os.path.exists(self.path + end)]
        if left:
            self.say('there is NAME' + ', NAME'.join(left))
        if rc in (0, 1):
            self.show('check')
            self.content()
            self.compare()

    def judge(self, name, data):
        """The text for one file."""
        self.out = []
        self.unpack(data)
        rc, out = self.show('check')
        if rc == 3 and OLD_FORMAT.search(out):
            return None
        if rc == 0:
            self.content()
            self.compare()
        self.unpack(data)
        self.read(rc)
        if rc == 0:     # now with what its writer left to be done
            self.compare()
        if not name.startswith('broken-'):
            self.show('repair')
            return '\n'.join(self.out) + '\n'
        self.unpack(data)
        self.show('repair', '--dry-run')
        if open(self.path, 'rb').read() != data:
            self.say('a dry run changed the file')
        self.repair(data)
        if any('--salvage' in line for line in self.out):
            self.repair(data, '--salvage')
        return '\n'.join(self.out) + '\n'


def main():
    args = [a for a in sys.argv[1:] if a != '--update']
    update = len(args) < len(sys.argv) - 1
    tool, name, *word = args
    runner = Runner(tool, name)
    n = failed = 0
    try:
        for path in sorted(glob.glob(os.path.join(HERE, '*.xz'))):
            what = os.path.basename(path)[:-3]
            if word and word[0] not in what:
                continue
            with lzma.open(path) as f:
                got = runner.judge(what, f.read())
            n += 1
            text = path[:-3] + '.txt'
            if update:
                with open(text, 'w') as f:
                    f.write(got)
                continue
            with open(text) as f:
                want = f.read()
            if got is None or got == want:
                continue
            failed += 1
            print(f'golden: {what}.xz:')
            sys.stdout.flush()
            subprocess.run(['diff', '-u', text, '-'], input=got.encode(), check=False)
    finally:
        runner.forget()
    print(f'golden: {n - failed} files as expected, {failed} not')
    return 1 if failed or not n else 0


if __name__ == '__main__':
    sys.exit(main())

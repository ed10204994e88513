#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh BUILD [WORD] - the examples compile and do what they say
#
#	tests/examples/run.sh build/release
#
# With WORD only those whose name has it. Waits end when what they wait for has come; a limit of
# 30 seconds is there to end a run that waits in vain. prefork, push and the .py need python3.
set -euo pipefail
build=$(cd "$1" && pwd)
word=${2:-}
cd "$(dirname "$0")/../.."
source=$PWD
name=ipcmap-test.$$
tmp=$(mktemp -d "${TMPDIR:-/tmp}/ipcmap-examples.XXXXXX")
export LC_ALL=C
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$source/tests/examples IPCMAP_LIB=$build/libipcmap.so.0

cleanup() {
	local running
	trap - EXIT HUP INT TERM
	mapfile -t running < <(jobs -p)
	[ "${#running[@]}" = 0 ] || kill "${running[@]}" 2>/dev/null || :
	wait
	rm -f "/dev/shm/$name".*
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 3' HUP INT TERM

fail() {
	echo "examples: $*" >&2
	exit 1
}

same() { # WHAT GOT WANTED
	[ "$2" = "$3" ] || fail "$1: '$2', not '$3'"
}

status() { # WANTED COMMAND ...: does it end with this status?
	local wanted=$1 got=0
	shift
	"$@" >status.out 2>&1 || got=$?
	[ "$got" = "$wanted" ] || fail "$*: status $got, not $wanted: $(cat status.out)"
}

wait_for() { # WHAT COMMAND ...: run it until it succeeds
	local what=$1 end=$((SECONDS + 30))
	shift
	until "$@"; do
		((SECONDS < end)) || fail "waited 30 s for $what"
		sleep 0.02
	done
}

mortal() { # COMMAND ...: in the background; it ends with this script, even if that is killed
	exec setpriv --pdeathsig TERM "$@"
}

sum() { # of numbers, one a line
	awk '{ n += $1 } END { print n + 0 }' "$@"
}

compile() { # PROGRAM
	# shellcheck disable=SC2046 # words
	${CC:-cc} -std=gnu11 -Wall -Wextra -Wshadow -Werror -I"$source/core" -o "$1" \
		"$source/tests/examples/$1.c" "$build/libipcmap.a" $(pkg-config --libs liblz4) \
		-pthread
}

# ---- ratelimit ----

four_ask() { # OPTIONS ... : how many of 200,000 questions of four processes are allowed
	local i
	for i in 1 2 3 4; do
		./ratelimit -n 50000 "$@" >allowed."$i" 2>&1 &
	done
	wait
	sum allowed.?
}

ratelimit_once() { # CLIENT MAX WINDOW_MS: is one more allowed?
	./ratelimit "/$name.rates" "$@" >/dev/null
}

check_ratelimit() {
	local day=86400000 m=/$name.rates
	same "fixed window" "$(four_ask "$m" jane 77777 $day)" 77777
	same "another client" "$(./ratelimit "$m" joe 777 $day)" 1
	status 1 ./ratelimit "$m" jane 77777 $day
	status 0 ./ratelimit "$m" jane 77778 $day
	status 0 ratelimit_once kim 1 100
	wait_for "the next window" ratelimit_once kim 1 100

	# at noon half of the day before counts: 77,777 - 38,888.5 are left
	same "first day" "$(four_ask -s -a $((day * 5)) "$m" jane 77777 $day)" 77777
	same "midnight" "$(four_ask -s -a $((day * 6)) "$m" jane 77777 $day)" 0
	same "noon" "$(four_ask -s -a $((day * 6 + day / 2)) "$m" jane 77777 $day)" 38888
	same "two days later" "$(four_ask -s -a $((day * 8)) "$m" jane 77777 $day)" 77777
	status 0 ./ratelimit -s "$m" joe 1 $day
}

# ---- sessions ----

life_left() { # ID: seconds, as the list of sessions has it
	./sessions "/$name.sessions" list | awk -v id="$1" '$1 == id { print $3 }'
}

session_gone() { # ID; a look with `who` would keep it alive
	[ -z "$(life_left "$1")" ]
}

check_sessions() {
	local m=/$name.sessions jane joe token left
	read -r jane token <<<"$(./sessions -t 100 "$m" login jane)"
	read -r joe _ <<<"$(./sessions -t 0.1 "$m" login joe)"
	[ "$jane" != "$joe" ] || fail "two sessions with one id"

	# less than half of 1000 s is left: it gets them; more than half of 150 s: it keeps what it has
	same "user" "$(./sessions -t 1000 "$m" who "$jane")" jane
	same "user" "$(./sessions -t 150 "$m" who "$jane")" jane
	left=$(life_left "$jane")
	((left > 500 && left <= 1000)) || fail "sliding expiry: $left s left of 1000"
	wait_for "the end of a session" session_gone "$joe"
	status 1 ./sessions "$m" who "$joe"
	same "list" "$(./sessions "$m" list | cut -d ' ' -f 1,2)" "$jane jane"

	# of four that have the same token one gets the next
	for _ in 1 2 3 4 5; do
		for i in 1 2 3 4; do
			./sessions "$m" rotate "$jane" "$token" >token."$i" 2>/dev/null &
		done
		wait
		same "tokens given out" "$(cat token.? | wc -l)" 1
		status 1 ./sessions "$m" rotate "$jane" "$token"
		token=$(cat token.?)
	done
	# no rotation is lost, however many rotate at once
	for i in 1 2 3 4; do
		./sessions "$m" spin "$jane" 2000 >/dev/null &
	done
	wait
	same "rotations" "$(./sessions "$m" list | cut -d ' ' -f 4)" 8005

	status 0 ./sessions "$m" logout "$jane"
	status 1 ./sessions "$m" logout "$jane"
	status 1 ./sessions "$m" who "$jane"
	same "list" "$(./sessions "$m" list)" ""
}

# ---- services ----

check_services() {
	local m=/$name.services i
	status 3 ./services "$m" pick
	status 0 ./services "$m" trial 3 1000
	same "readers" "$(grep -c 'from 1000 lists$' status.out)" 3
	status 0 ./services "$m" publish a:1 b:2
	for i in {1..20}; do
		./services "$m" pick
	done >picks
	same "picks of the list" "$(grep -cx -e a:1 -e b:2 picks)" 20
	status 3 ./services "$m" publish
	status 0 ./services "$m" publish c:3
	same "pick" "$(./services "$m" pick)" c:3
}

# ---- prefork ----

client() { # [FILE]: ask for each line of standard input, or until FILE is there; never returns
	exec python3 -u /dev/fd/9 "$@" 9<<-'end'
		import os, socket, sys, time

		def ask():
		    for _ in range(600):  # a worker that is killed takes the question along
		        with socket.socket(socket.AF_UNIX) as s:
		            s.settimeout(30)
		            answer = b""
		            try:
		                s.connect("sock")
		                s.sendall(b"GET /world HTTP/1.0\r\n\r\n")
		                answer = s.makefile("rb").read()
		            except OSError:
		                pass
		        if answer.endswith(b"\n"):
		            return answer.split(b"\r\n\r\n", 1)[1].decode()
		        time.sleep(0.05)
		    sys.exit("no answer")

		until = sys.argv[1:]
		while not os.path.exists(until[0]) if until else sys.stdin.readline():
		    sys.stdout.write(ask())
	end
}

ask() { # sets answer, which ends with ", worker PID", and worker
	echo >&"${asker[1]}"
	IFS= read -r -t 30 answer <&"${asker[0]}" || fail "no answer in 30 s"
	worker=${answer##* }
	answer=${answer%, worker *}
}

publish() { # NUMBER: as the next version
	printf 'greeting=hello-%d\nmark=-%d\n' "$1" "$1" |
		"$build/ipcmap" snapshot publish "/$name.prefork" greeter -
}

only_current_held() {
	"$build/ipcmap" snapshot ls --json "/$name.prefork" >versions
	[ "$(grep -c '"holders":0' versions)" = 7 ] && ! grep -q '"holders":0.*"current":true' versions
}

check_prefork() {
	local m=/$name.prefork server other i killed=" "
	mortal ./prefork "$m" sock 3 &
	server=$!
	wait_for "the server's socket" [ -S sock ]
	client stop >answers &
	other=$!
	coproc asker { client; }
	ask
	same "first configuration" "$answer" "hello, world! version 1"

	# each version is in force when its publication has ended, and nobody was restarted for it
	for i in {2..20}; do
		publish "$i" >/dev/null
		ask
		same "version $i" "${answer% version *}" "hello-$i, world-$i"
	done
	wait_for "an answer to the other client" grep -q "^hello-20," answers
	i=$(sed -n 's/.*, worker //p' answers | sort -u | wc -l)
	((i <= 3)) || fail "$i workers in place of 3: some were restarted"

	# more kills than workers: those who answer in the end are new
	for i in 1 2 3 4 5; do
		kill -KILL "$worker"
		killed+="$worker "
		ask
		same "after a kill" "${answer% version *}" "hello-20, world-20"
		[[ $killed != *" $worker "* ]] || fail "an answer from a worker that was killed"
	done
	"$build/ipcmap" snapshot rollback "$m" greeter >/dev/null
	ask
	same "after a rollback" "${answer% version *}" "hello-19, world-19"

	# what the other client saw: whole versions, in their order
	: >stop
	wait "$other" || fail "the other client ended with $?"
	awk '
		!/^hello(-[0-9]+)?, world(-[0-9]+|!) version [0-9]+, worker [0-9]+$/ { exit bad = 1 }
		{ split($0, w, /[ ,]+/) }
		substr(w[1], 6) != (w[4] == 1 ? "" : substr(w[2], 6)) { exit bad = 1 }
		w[4] + 0 < last { exit bad = 1 }
		{ last = w[4] + 0 }
		END { if (bad) print NR ": " $0; exit bad }
	' answers >wrong || fail "a wrong answer in line $(cat wrong)"
	wait_for "workers to let old versions go" only_current_held
	eval "exec ${asker[1]}>&-"
	kill "$server"
	wait "$server" || fail "the server ended with $?"
	[ ! -e sock ] || fail "the server left its socket"
	status 0 "$build/ipcmap" check "$m"
	"$build/ipcmap" snapshot ls --json "$m" >versions
	same "versions that nobody holds" "$(grep -c '"holders":0' versions)" 8
}

# ---- gateway ----

publish_routes() { # VERSION: all routes lead to backends of this version
	echo "{\"/\": \"web$1\", \"/api\": \"api$1\", \"/api/v$1\": \"new$1\"}" |
		"$build/ipcmap" snapshot publish "/$name.gateway" routes - --format=json >/dev/null
}

route() { # PATH: sets reply
	echo "$1" >&"${gateway[1]}"
	IFS= read -r -t 30 reply <&"${gateway[0]}" || fail "no route in 30 s"
}

nobody_behind() { # no old version is held
	! "$build/ipcmap" snapshot ls --holders "/$name.gateway" | grep -Eq 'old|held only'
}

check_gateway() {
	local m=/$name.gateway i reply pids=()
	status 3 ./gateway "$m"
	"$build/ipcmap" create "$m"
	status 3 ./gateway "$m" </dev/null
	publish_routes 1
	coproc gateway { mortal ./gateway "$m"; }
	while read -r i reply; do
		same "route of $i" "$(echo "$i" | ./gateway "$m")" "$i -> $reply (version 1)"
	done <<-'end'
		/ web1
		/apis web1
		/api api1
		/api/ api1
		/api/users/7 api1
		/api/v1 new1
		/api/v1/users new1
		/api/v10 api1
		other 404
	end
	# three more, which look without a pause
	for i in 1 2 3; do
		yes /api/v0 2>/dev/null | mortal ./gateway "$m" >seen.$i &
		pids+=($!)
	done
	for i in {2..40}; do
		publish_routes "$i"
		route "/api/v$i/x"
		same "version $i" "$reply" "/api/v$i/x -> new$i (version $i)"
	done
	for i in 1 2 3; do
		wait_for "the newest routes in gateway $i" grep -q 'version 40' "seen.$i"
	done
	kill "${pids[@]}"
	wait "${pids[@]}" 2>/dev/null || :
	sed -s '$d' seen.? | awk '
		{ v = $NF + 0 }
		$0 != "/api/v0 -> api" v " (version " v ")" { print; exit }' >wrong
	same "a wrong route" "$(cat wrong)" ""
	publish_routes 41
	wait_for "an idle gateway to let old routes go" nobody_behind
	"$build/ipcmap" snapshot ls --holders "$m" | grep -q current || fail "nobody holds version 41"
	# without the table it goes on with what it has
	"$build/ipcmap" snapshot drop -f "$m" routes
	route /
	same "after a drop" "$reply" "/ -> web41 (version 41)"
	eval "exec ${gateway[1]}>&-"
	wait "$gateway_PID" || fail "the gateway ended with $?"
}

# ---- ipcmap.py ----

# two processes that have nothing to do with each other, and the command line
check_ipcmap.py() {
	local py=$source/tests/examples/ipcmap.py m=$name.short
	status 0 python3 "$py" "/$m" city "Sao Paulo"
	same "one python to the other" "$(python3 "$py" "/$m" city)" "Sao Paulo"
	same "from python to the tool" "$("$build/ipcmap" get "$m" city)" "Sao Paulo"
	"$build/ipcmap" put "$m" city "$(head -c 100000 /dev/zero | tr '\0' x)"
	status 0 python3 -c "
from ipcmap import *
m = Map('/$m')
assert m[b'city'] == b'x' * 100000
del m[b'city']
try: m[b'city']
except KeyError as e: assert e.args == (b'city',)
else: sys.exit('no KeyError')
try: m[b''] = b'x'
except OSError as e: assert e.errno == 22
else: sys.exit('no OSError')"
	same "what is left" "$("$build/ipcmap" ls "$m")" ""
}

# ---- ipcmap_dict.py ----

open_map="
import sys
from ipcmap_dict import *
m = Map('/$name.py', create=True)
"

python_map() { # CODE
	status 0 python3 -c "$open_map$1"
}

key_gone() { # NAME KEY
	local s=0
	"$build/ipcmap" exists "/$1" "$2" || s=$?
	[ "$s" = 1 ]
}

all_ready() {
	[ "$("$build/ipcmap" get "/$name.py" ready 2>/dev/null)" = 4 ]
}

check_ipcmap_dict.py() {
	local m=$name.py i
	# its structures are those of the header
	python3 - >layout.c <<-'end'
		from ipcmap_dict import *
		print('#include <ipcmap.h>')
		for python, c in ((Options, "options"), (PutOptions, "put_options"),
		                  (AddOptions, "add_options"), (Item, "item")):
		    c = "struct ipcmap_" + c
		    print(f'_Static_assert(sizeof({c}) == {sizeof(python)}, "{c}");')
		    for field, _ in python._fields_:
		        at = getattr(python, field)
		        print(f'_Static_assert(offsetof({c}, {field}) == {at.offset} && '
		              f'sizeof((({c} *)0)->{field}) == {at.size}, "{c}, {field}");')
	end
	${CC:-cc} -std=gnu11 -I"$source/core" -fsyntax-only layout.c || fail "layout of structures"

	# what one process stores another finds
	status 0 python3 "$source/tests/examples/ipcmap_dict.py" "/$m"
	grep -q '^run number 1$' status.out || fail "the demo of ipcmap_dict.py: $(cat status.out)"
	same "from python to the tool" "$("$build/ipcmap" get "$m" greeting)" hello
	printf 'a\0b\n' | "$build/ipcmap" put "$m" bytes
	python_map 'assert m["bytes"] == b"a\0b\n"; m["\u00e9"] = b"\0" * 300000'
	python_map 'assert len(m["\u00e9"]) == 300000; del m["\u00e9"]'
	python_map 'm.put("soon", "", ttl=0.1); m.put("late", "", ttl=100)'
	wait_for "the end of a key" key_gone "$name.py" soon
	python_map '
assert sorted(m) == sorted(m.keys()) == [b"bytes", b"greeting", b"late", b"note", b"runs"], m.keys()
assert m.items("b") == [(b"bytes", b"a\0b\n")] and m["late"] == b""
assert "late" in m and "soon" not in m and m.get("soon", 7) == 7'
	python_map '
def raises(error, code):
    try:
        code()
    except error:
        return
    sys.exit(f"no {error}")
raises(KeyError, lambda: m["none"])
raises(KeyError, lambda: m.delete("none"))
raises(FileExistsError, lambda: m.put("late", "x", flags=IF_ABSENT))
raises(FileNotFoundError, lambda: Map("/ipcmap-test.none"))
raises(OSError, lambda: m.add("greeting"))
raises(OSError, lambda: m.put("", "x"))'

	for i in 1 2 3 4; do
		mortal python3 -c "$open_map"'
m.add("ready")
while "go" not in m: pass
for i in range(5000): m.add("sum", 3)' &
	done
	wait_for "four processes" all_ready
	"$build/ipcmap" put "$m" go 1
	wait
	same "sum" "$("$build/ipcmap" get "$m" sum)" 60000
}

# ---- permissions ----

check_permissions() {
	local m=/$name.rights
	status 1 ./permissions "$m" ask ann write
	status 0 ./permissions "$m" grant ann write
	status 0 ./permissions "$m" ask ann write
	status 1 ./permissions "$m" ask ann read
	status 0 ./permissions "$m" revoke ann write
	status 1 ./permissions "$m" ask ann write
	status 0 ./permissions "$m" watch-out 3 5000
	grep -q '[1-9][0-9]* allowed, 0 of them too late' status.out || fail "$(cat status.out)"
	status 2 ./permissions "$m" forget ann write
}

# ---- metadata ----

asked() {
	"$build/ipcmap" get "/$name.meta" asked
}

metadata() { # OPTIONS... OBJECT: about one
	./metadata "${@:1:$#-1}" "/$name.meta" source "${@: -1}"
}

check_metadata() {
	local i reply
	mkdir -p source
	echo 'size=7 owner=ada' >source/file
	# ten miss it at once, one asks
	for i in {1..10}; do
		metadata -d 300 file >reply.$i &
	done
	wait
	same "replies" "$(sort -u reply.*)" "file: size=7 owner=ada (good)"
	same "ten who missed it asked" "$(asked)" 1
	same "no object" "$(metadata nemo; metadata nemo)" $'nemo: no such object\nnemo: no such object'
	same "asked for nothing twice" "$(asked)" 2

	# what has changed is seen by who comes after -f, and not before the value's end otherwise
	echo 'size=8 owner=ada' >source/file
	same "still good" "$(metadata file)" "file: size=7 owner=ada (good)"
	./metadata -f "/$name.meta" source file
	same "forgotten" "$(metadata -t 50 file)" "file: size=8 owner=ada (good)"

	# it expires; one asks, slowly, and its reply comes before that; the others do not wait
	echo 'size=9 owner=ada' >source/file
	wait_for "the end of the value" key_gone "$name.meta" file
	i=$(asked)
	mkfifo slow
	metadata -b -d 4000 file >slow &
	IFS= read -r -t 3 reply <slow || fail "a reply that waited for the source"
	same "before it is asked for" "$reply" "file: size=8 owner=ada (expired)"
	same "meanwhile" "$(timeout 3 ./metadata "/$name.meta" source file)" \
		"file: size=8 owner=ada (expired)"
	wait
	same "asked once more" "$(asked)" $((i + 1))
	same "then" "$(metadata file)" "file: size=9 owner=ada (good)"
	./metadata -f "/$name.meta" source file
	metadata -t 50 file >status.out
	wait_for "the end of the value" key_gone "$name.meta" file

	# without the source the old value serves; an object that nobody knows is not to be had
	mv source elsewhere
	same "no source" "$(metadata file)" "file: size=9 owner=ada (expired)"
	i=$(asked)
	same "no source" "$(metadata file)" "file: size=9 owner=ada (expired)"
	metadata other | grep -q '^other: not to be had: ' || fail "an object without a source"
	same "a source that failed is let alone for a while" "$(asked)" $((i + 1))
	status 2 ./metadata "/$name.meta" source
}

# ---- tasks ----

board_says() { # LINE
	grep -qx "$1" board.out
}

check_tasks() {
	local m=/$name.tasks i board stuck workers=()
	local command='mkdir ran."$0" 2>/dev/null || echo "$0" >>twice; case $0 in
		stuck) [ -e go ] || { echo $PPID >stuck.pid; exec sleep 100; };;
		stopped) [ -e go ] || { echo $PPID >stopped.pid; until [ -e go ]; do sleep 0.05; done; };;
		bad) exit 7;;
		esac'
	status 2 ./tasks "$m" work
	./tasks "$m" add stuck stopped bad
	status 3 ./tasks "$m" add bad
	# shellcheck disable=SC2046 # words
	./tasks "$m" add $(seq -f t%g 100)
	: >board.out
	mortal ./tasks "$m" board >board.out &
	board=$!
	wait_for "the board" board_says "stuck open"
	for i in 1 2 3 4; do
		mortal ./tasks -l 2000 "$m" work "$command" >worker.$i &
		workers+=($!)
	done
	wait_for "the worker with the stuck task" [ -s stuck.pid ]
	wait_for "the worker with the other one" [ -s stopped.pid ]
	wait_for "both on the board" grep -q '^stuck claimed' board.out
	wait_for "both on the board" grep -q '^stopped claimed' board.out
	stuck=$(sed -n 's/^stuck claimed //p' board.out | tail -1)
	kill -STOP "$(cat stopped.pid)"
	touch go
	disown "$(cat stuck.pid)" # or bash would say that it was killed
	kill -KILL "$(cat stuck.pid)"
	wait_for "another one to finish the task of the dead" \
		grep -q '^stuck done [0-9]* 0$' board.out
	! board_says "stuck done $stuck 0" || fail "a dead worker finished its task"
	wait_for "another one to finish the task of the stopped" \
		grep -q '^stopped done [0-9]* 0$' board.out
	kill -CONT "$(cat stopped.pid)"
	for i in "${workers[@]}"; do
		[ "$i" = "$(cat stuck.pid)" ] || wait "$i" || fail "a worker ended with $?"
	done
	wait "$board" || fail "the board ended with $?"
	same "who was stopped for too long" "$(cat worker.?)" \
		"worker $(sed -n 's/^stopped claimed //p' board.out | head -1) lost stopped"
	same "run twice" "$(sort twice | tr '\n' ' ')" "stopped stuck "
	for i in stuck stopped bad $(seq -f t%g 100); do
		"$build/ipcmap" get "$m" "task:$i"
		echo
	done >texts
	same "done" "$(grep -cx 'done [1-4] 0' texts)" 102
	same "failed" "$(grep -cx 'done [1-4] 7' texts)" 1
	"$build/ipcmap" check "$m" >status.out || fail "$(cat status.out)"
}

# ---- push ----

# Says all that it is told, and sends each line of its input.
flags_client() {
	exec python3 -u /dev/fd/9 9<<-'end'
		import os, select, socket, sys

		with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
		    s.connect("flags.sock")
		    while True:
		        for f in select.select([s, sys.stdin], [], [], 60)[0] or sys.exit("waited 60 s"):
		            if f is s:
		                told = s.recv(4096)
		                if not told:
		                    sys.exit(0)
		                print(told.decode())
		            else:
		                line = os.read(0, 4096).decode()
		                if not line:
		                    sys.exit(0)
		                for each in line.splitlines():
		                    s.send(each.encode())
	end
}

told() { # WANTED: is this the next?
	local got
	IFS= read -r -t 30 got <&"${flags[0]}" || fail "not told of: $1"
	same "told" "$got" "$1"
}

server_is_there() { # PID
	"$build/ipcmap" exists "/$name.flags" "server:$1"
}

check_push() {
	local m=/$name.flags server other i held
	"$build/ipcmap" create "$m"
	"$build/ipcmap" put "$m" flag:debug on
	"$build/ipcmap" put "$m" other x
	mortal ./push "$m" flags.sock &
	server=$!
	wait_for "the socket" [ -S flags.sock ]
	coproc flags { flags_client; }
	told "debug on"
	mkfifo nothing
	exec {held}<>nothing
	flags_client <nothing >other.told &
	other=$!
	wait_for "what the other client is told" grep -qx "debug on" other.told

	# of changes by others and of its own; in their order
	"$build/ipcmap" put "$m" flag:level 3
	told "level 3"
	"$build/ipcmap" put "$m" other y
	echo "colour blue sky" >&"${flags[1]}"
	told "colour blue sky"
	same "set by a client" "$("$build/ipcmap" get "$m" flag:colour)" "blue sky"
	echo "level" >&"${flags[1]}"
	told "level"
	status 1 "$build/ipcmap" exists "$m" flag:level
	for i in {1..50}; do
		"$build/ipcmap" put "$m" flag:n "$i"
	done
	wait_for "the last of many" grep -qx "n 50" other.told
	while IFS= read -r -t 30 i <&"${flags[0]}" && [ "$i" != "n 50" ]; do
		[[ $i == "n "* ]] || fail "told of '$i'"
	done
	same "the other client was told the same" "$(grep -v '^n ' other.told | tr '\n' ,)" \
		"debug on,level 3,colour blue sky,level,"
	# the timer's turn, with nothing else to do
	wait_for "the server's key" server_is_there "$server"
	"$build/ipcmap" clear --force "$m"
	told " "
	wait_for "the server's key again" server_is_there "$server"

	eval "exec ${flags[1]}>&-"
	exec {held}>&-
	"$build/ipcmap" put "$m" flag:alone 1
	kill "$other" 2>/dev/null || :
	kill "$server"
	wait "$server" || fail "the server ended with $?"
	[ ! -e flags.sock ] || fail "the server left its socket"
	status 0 "$build/ipcmap" check "$m"
}

# ---- all ----

cd "$tmp"
done=0
for example in ratelimit permissions sessions services prefork gateway metadata tasks push \
	ipcmap.py ipcmap_dict.py; do
	[[ $example == *$word* ]] || continue
	if [[ $example =~ ^(prefork|push|ipcmap.*)$ ]] && ! command -v python3 >/dev/null; then
		echo "examples: python3 is not installed: $example not tried"
		continue
	fi
	[[ $example == *.* ]] || compile "$example"
	"check_$example"
	done=$((done + 1))
done
echo "$done examples do what they say"

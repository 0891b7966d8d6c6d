#!/usr/bin/env bash
# The quickstart: far ends on loopback, a gateway described by the manifests beside this script, a few letters, and where each went.
# ONCE=1 ends it when the letters have arrived; otherwise it stays up until Ctrl-C. `make run` builds what it starts.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${POSTHOUSE_BIN_DIR:-${CARGO_TARGET_DIR:-$here/../../target}/debug}
smtp_sink=127.0.0.1:10026 # where the manifests send what is relayed
lmtp_sink=127.0.0.1:10024 # where they deliver what is local
bound=60                  # seconds that any one step may take

# from, to, subject: one letter for each way through the gateway
letters=(
    'ann@elsewhere.example|alice@example.com|to somebody here, by LMTP'
    'ann@elsewhere.example|info@mail.example.com|to an alias of a group of two, in an alias of the domain'
    'ann@elsewhere.example|anyone@example.org|to a domain whose mailboxes are elsewhere, by a forward'
    'alice@example.com|friend@anywhere.example|out, by the relay rule'
)
recipients=5 # at the far ends when all is well: the group has two

state=$(mktemp -d "${TMPDIR:-/tmp}/posthouse-quickstart.XXXXXX")
children=()

finish() {
    local status=$?
    trap - EXIT INT TERM
    # The operator first, so that its nodes drain into sinks that still listen.
    local pid
    for pid in "${children[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$state"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*"; }
title() { printf '\n── %s\n' "$*"; }

fail() {
    local status=$1
    shift
    say "quickstart: $*" >&2
    local log
    for log in operator sink; do
        if [ -s "$state/$log.log" ]; then
            say "── the end of $log.log" >&2
            tail -n 40 "$state/$log.log" >&2
        fi
    done
    exit "$status"
}

# until_or_fail WHAT PID COMMAND...: waits, within the bound, while PID lives. Its status is the child's where that one ends with 2
# (usage or a busy port), else 1.
until_or_fail() {
    local what=$1 pid=$2 deadline=$((SECONDS + bound)) status
    shift 2
    until "$@"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            status=0
            wait "$pid" || status=$?
            [ "$status" -eq 2 ] || status=1
            fail "$status" "a process ended before $what"
        fi
        [ "$SECONDS" -lt "$deadline" ] || fail 1 "waited $bound s in vain: $what"
        sleep 0.05
    done
}

sinks_listen() { [ "$(grep -c '^listening: ' "$state/sink.log")" -eq 2 ]; }
all_arrived() { [ "$(sed -n 's/^letter .* to //p' "$state/sink.log" | grep -o '<' | wc -l)" -ge "$recipients" ]; }

for program in posthouse-operator posthouse-node posthouse-sink; do
    [ -x "$bin/$program" ] || fail 2 "$bin/$program is not built: use \`make run\`"
done

title "far ends: SMTP on $smtp_sink, LMTP on $lmtp_sink"
"$bin/posthouse-sink" receive --smtp "$smtp_sink" --lmtp "$lmtp_sink" >"$state/sink.log" 2>&1 &
sink=$!
children=("$sink")
until_or_fail 'the sinks listened (is a port of theirs busy?)' "$sink" sinks_listen

title "the gateway: posthouse-operator local -f ${here#"$PWD"/}"
"$bin/posthouse-operator" local -f "$here" --state "$state/run" --log-format text >"$state/operator.log" 2>&1 &
operator=$!
children=("$operator" "$sink")
until_or_fail 'the gateway was ready' "$operator" test -e "$state/run/local.json"
server=$("$bin/posthouse-sink" address --local "$state/run/local.json")
say "ready: SMTP on $server"

ids=()
for letter in "${letters[@]}"; do
    IFS='|' read -r from to subject <<<"$letter"
    title "$from → $to: $subject"
    say 'what the manifests say of it:'
    "$bin/posthouse-operator" explain -f "$here" --from "$from" --to "$to" --client 127.0.0.1 2>&1 | sed 's/^/    /' ||
        fail 1 'explain refused it'
    reply=$("$bin/posthouse-sink" send --server "$server" --from "$from" --to "$to" --subject "$subject") ||
        fail 1 "the gateway answered: $reply"
    say "the gateway's reply:"
    say "    $reply"
    ids+=("$(grep -oE '[0-9a-hjkmnp-tv-z]{26}' <<<"$reply" | head -n 1)")
done

until_or_fail "the letters arrived for $recipients recipients" "$operator" all_arrived

title 'what the node did, by queue id'
for id in "${ids[@]}"; do
    say "$id"
    grep -F "$id" "$state/operator.log" | sed 's/^/    /' || true
done
title 'what the far ends got'
sed '/^listening: /d' "$state/sink.log"

if [ -n "${ONCE:-}" ]; then
    title "all letters arrived"
    exit 0
fi

title 'it stays up; try'
cat <<TRY
    swaks --server $server --from ann@elsewhere.example --to alice@example.com
    telnet ${server%:*} ${server##*:}
    $bin/posthouse-operator explain -f $here --from ann@elsewhere.example --to nobody@example.com
    $bin/posthouse-node queue list --state $state/run
    edit a file in $here: the node follows
Ctrl-C ends it. From here on: what the gateway and the far ends write.
TRY
tail -n 0 -F "$state/operator.log" "$state/sink.log" 2>/dev/null &
children=("$operator" "$sink" "$!")
# The operator's end is the end.
wait "$operator"

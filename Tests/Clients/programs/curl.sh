#!/bin/sh
# Pantler from the shell, by curl.
set -eu
shop=${PANTLER_URL:-http://127.0.0.1:8080}/v1/namespaces/curl
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cd "$folder"

fail() { echo "$*" >&2; exit 1; }
# Whether what came has this in it.
has() { case $1 in *"$2"*) ;; *) fail "no $2 in: $1" ;; esac; }

# Put and get. What curl calls a form by itself is read as JSON all the same.
curl -sS --fail-with-body -X PUT -d '{"value":{"name":"Quince jelly","price":4.2},"ttl":60}' "$shop/entries/product-42" >answer
has "$(curl -sS -f "$shop/entries/product-42")" '"value":{"name":"Quince jelly","price":4.2}'

# A miss says why. With -f it is exit 22.
has "$(curl -sS "$shop/entries/nothing")" '"reason":"absent"'
if curl -sS -f -o body "$shop/entries/nothing" 2>error; then fail "a miss is no failure"; else [ $? = 22 ]; fi
[ -z "$(curl -sS -f "$shop/entries/nothing?miss=204")" ]

# Compare and set: what was read is replaced only if nobody else was there first.
etag=$(curl -sS -I "$shop/entries/product-42" | tr -d '\r' | sed -n 's/^etag: //Ip')
curl -sS --fail-with-body -X PUT -H "If-Match: $etag" -d '{"value":1}' "$shop/entries/product-42" >answer
has "$(curl -sS -X PUT -H "If-Match: $etag" -d '{"value":2}' -w '%{http_code}' "$shop/entries/product-42")" '"code":"version_mismatch"'

# Ask again only for what has changed.
curl -sS --etag-save tag "$shop/entries/product-42" >entry
[ "$(curl -sS --etag-compare tag -w '%{http_code}' "$shop/entries/product-42")" = 304 ]

# Bytes with a media type: a file up and down.
printf '\211PNG\r\n\032\n\000' >logo.png
curl -sS --fail-with-body -T logo.png -H 'Content-Type: image/png' "$shop/values/logo?ttl=60" >answer
[ "$(curl -sS -f -o got.png -w '%{content_type}' "$shop/values/logo")" = image/png ]
cmp logo.png got.png

# Many in one round trip.
found=$(curl -sS -f --json '{"keys":["product-42","nothing"]}' "$shop/batch/get")
has "$found" '"key":"product-42"'
has "$found" '"missing":["nothing"]'

# Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
token=$(curl -sS --fail-with-body -X POST "$shop/leases/report" | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
has "$(curl -sS --json '{"wait":0.1}' "$shop/leases/report")" '"reason":"filling"'
curl -sS --fail-with-body -X PUT -H "Lease: $token" -d '{"value":"done","ttl":60}' "$shop/entries/report" >answer
has "$(curl -sS -f --json '{"wait":5}' "$shop/leases/report")" '"value":"done"'
# A lease fills once.
has "$(curl -sS -X PUT -H "Lease: $token" -d '{"value":"late"}' "$shop/entries/report")" '"code":"lease_lost"'

# Odd keys. curl encodes a query and no path, so they go by ?key=.
for key in 'a b' 'a+b' '50%' 'user/42' 'what?' '#1' 'crème ☕' '&=;' '.' '..' '/rooted' 'a//b'; do
    curl -sS --fail-with-body -X PUT -d "{\"value\":\"$key\"}" --url-query "key=$key" "$shop/entry" >answer
    has "$(curl -sS -f -G --data-urlencode "key=$key" "$shop/entry")" "\"value\":\"$key\""
done

# curl folds `..` before it sends anything: these ask to drop the whole namespace, or for nothing that there is.
has "$(curl -sS -X DELETE "$shop/entries/../../curl")" '"code":"confirmation_required"'
has "$(curl -sS -X DELETE "$shop/entries/..")" '"code":"route_not_found"'
# A form of several parts is no value.
has "$(curl -sS -X PUT -F 'file=@logo.png' "$shop/values/logo")" '"code":"unsupported_media_type"'

# What goes on all day.
curl -sS --fail-with-body -X PUT -d '{"value":17,"ttl":60}' "$shop/entries/item-[1-500]" >answers
curl -sS -f "$shop/entries/item-[1-500]" >answers

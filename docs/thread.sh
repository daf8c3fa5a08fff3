#!/bin/sh
# From lead to cash by hand: what the README tells, as one script. Needs curl and python3.
#   docs/thread.sh [--cacert ca.pem] [sign-ins.json] [http address] [gRPC address]
# Without them it goes where TRADEWIND_HOME, TRADEWIND_HTTP_PORT and TRADEWIND_GRPC_PORT say, as `make up` does.
# --cacert: the authority that signed the doors' certificates, as after `tradewind up --tls`.
set -eu
CACERT='' SCHEME=http HOW=--http2-prior-knowledge
if [ "${1:-}" = --cacert ]; then CACERT=$2 SCHEME=https HOW="--cacert=$2"; shift 2; fi
SIGN_INS=${1:-${TRADEWIND_HOME:-.tradewind}/sign-ins.json}
HTTP=${2:-$SCHEME://127.0.0.1:${TRADEWIND_HTTP_PORT:-8080}} GRPC=${3:-127.0.0.1:${TRADEWIND_GRPC_PORT:-9090}}
BUF=${BUF:-.venv/bin/buf}
[ -r "$SIGN_INS" ] || { echo "There is no $SIGN_INS; \`make up\` makes it, in TRADEWIND_HOME." >&2; exit 1; }
curl() { command curl ${CACERT:+--cacert "$CACERT"} "$@"; }
curl -sS -o /dev/null "$HTTP/docs" || { echo "Tradewind does not answer at $HTTP; \`make up\` starts it." >&2; exit 1; }

of() { python3 -c 'import functools, json, sys
print(functools.reduce(lambda v, k: v[int(k) if k.isdigit() else k], sys.argv[1].split("."), json.load(sys.stdin)))' "$1"; }
call() { curl -sS --fail-with-body "$HTTP$1" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' ${2:+-d "$2"}; }
change() { curl -sS --fail-with-body -X PATCH "$HTTP$1" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d "$2"; }
sign_in() { # as the first of a role, or whoever may do everything
  TOKEN=$(python3 -c 'import json, sys
all = json.load(open(sys.argv[1]))
who = next((s for s in all if s["role"] == sys.argv[2]), all[0])
print(json.dumps({"email": who["email"], "password": who["password"]}))' "$SIGN_INS" "$1" |
    curl -sS --fail-with-body "$HTTP/v1/sessions" -H 'Content-Type: application/json' -d @- | of accessToken)
}
wait_for() { # PATH FIELD: a fact is on its way; ask again until the field is there
  for _ in $(seq 100); do call "$1" 2>/dev/null | of "$2" 2>/dev/null && return; sleep 0.1; done; return 1
}
RUN=$(date +%s)$$

echo "1. Goods: a product, a warehouse, stock."
sign_in administrator
PRODUCT=$(call /v1/products "{\"sku\": \"LATHE-$RUN\", \"displayName\": \"精密车床 Precision lathe\", \"kind\": \"STOCKED\", \"taxPercent\": {\"value\": \"13\"}}" | of name)
HALL=$(call /v1/warehouses "{\"code\": \"W$RUN\", \"displayName\": \"上海仓\"}" | of name)
call /v1/stock:receive "{\"product\": \"$PRODUCT\", \"warehouse\": \"$HALL\", \"quantity\": {\"value\": \"5\"}}" >/dev/null

echo "2. A lead becomes a customer and a deal."
sign_in sales_rep
LEAD=$(call /v1/leads "{\"companyName\": \"华东精密工具 $RUN\", \"person\": \"王芳\", \"wish\": \"Two lathes\", \"budget\": {\"currencyCode\": \"CNY\", \"units\": \"80000\"}}" | of name)
call "/v1/$LEAD:start" '{}' >/dev/null
call "/v1/$LEAD:qualify" '{}' >/dev/null
CONVERTED=$(call "/v1/$LEAD:convert" '{}')
CUSTOMER=$(echo "$CONVERTED" | of customer.name) DEAL=$(echo "$CONVERTED" | of opportunity)
wait_for "/v1/$DEAL" title >/dev/null

echo "3. A quote, accepted by the customer; the deal is won."
QUOTE=$(call /v1/quotes "{\"opportunity\": \"$DEAL\", \"customer\": \"$CUSTOMER\", \"currency\": \"CNY\", \"lines\": [{\"product\": \"$PRODUCT\", \"quantity\": {\"value\": \"2\"}, \"unitPrice\": {\"currencyCode\": \"CNY\", \"units\": \"40000\"}, \"discountPercent\": {\"value\": \"5\"}, \"taxPercent\": {\"value\": \"13\"}}]}" | of name)
call "/v1/$QUOTE:submit" '{}' | of state
call "/v1/$QUOTE:send" '{}' | of state
call "/v1/$QUOTE:accept" '{"accepter": "王芳"}' | of state
wait_for "/v1/$DEAL" acceptedQuote >/dev/null
call "/v1/$DEAL:win" '{"outcome": "Delivery before spring"}' | of state

echo "4. The contract that drafted itself: approved, signed, started."
CONTRACT=$(wait_for "/v1/contracts?filter=opportunity%3D%22$DEAL%22" contracts.0.name)
call "/v1/$CONTRACT:submit" '{}' | of state
sign_in sales_manager
call "/v1/$CONTRACT:approve" '{}' | of state
call "/v1/$CONTRACT:sign" '{"signers": [{"person": "王芳", "party": "华东精密工具"}]}' | of state
sign_in sales_rep
call "/v1/$CONTRACT:start" '{}' | of state

echo "5. The order that drafted itself: stock reserved and credit held, both or neither."
ORDER=$(wait_for "/v1/orders?filter=contract%3D%22$CONTRACT%22" orders.0.name)
change "/v1/$ORDER" "{\"warehouse\": \"$HALL\"}" >/dev/null
call "/v1/$ORDER:confirm" '{}' >/dev/null
until [ "$(call "/v1/$ORDER" | of state)" = CONFIRMED ]; do sleep 0.1; done
call "/v1/stock?filter=product%3D%22$PRODUCT%22" | of stock.0.reserved.value

echo "6. Shipped, invoiced, paid."
sign_in warehouse
SHIPMENT=$(call /v1/shipments "{\"order\": \"$ORDER\"}" | of name)
call "/v1/$SHIPMENT:dispatch" '{"carrier": "SF", "trackingNumber": "SF1234"}' | of state
call "/v1/$SHIPMENT:deliver" '{}' | of state
sign_in finance
INVOICE=$(wait_for "/v1/invoices?filter=order%3D%22$ORDER%22" invoices.0.name)
POSTED=$(call "/v1/$INVOICE:post" '{}')
echo "$POSTED" | of number
TOTAL=$(echo "$POSTED" | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["totals"]["total"]))')
call /v1/payments "{\"customer\": \"$CUSTOMER\", \"amount\": $TOTAL, \"allocations\": [{\"invoice\": \"$INVOICE\"}]}" | of state
sign_in sales_rep
until [ "$(call "/v1/$ORDER" | of state)" = SETTLED ]; do sleep 0.1; done
call "/v1/$ORDER" | of state

echo "7. The figures moved by themselves; the same over gRPC."
call "/v1/reports/dashboard?currency=CNY" | of revenueThisMonth.amount.units
"$BUF" curl --protocol grpc "$HOW" -H "Authorization: Bearer $TOKEN" \
  -d "{\"name\": \"$ORDER\"}" "$SCHEME://$GRPC/tradewind.inventory.v1.OrderService/GetOrder" | of state

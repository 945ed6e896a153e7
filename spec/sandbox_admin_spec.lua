-- The admin API as it is over HTTP: what it lists, field by field.

local core = require("wgtwo.core")
local support = require("spec.support.sandbox")

local open, read, http = support.open, support.read, support.http

local SUBSCRIBE <const>, ACK <const> = "wgtwo.events.v0.EventsService/Subscribe", "wgtwo.events.v0.EventsService/Ack"
local GET_MSISDN <const> = "wgtwo.subscription.v0.SubscriptionIdService/GetMsisdn"

describe("sandbox admin API:", function()
  local sandbox, client

  setup(function()
    sandbox, client = support.start_with_client({ clock = "virtual", clients = {
      { id = "id", secret = "secret" }, { id = "other", secret = "secret2", numbers = { "+4799990088" } },
    } })
  end)

  teardown(function() support.close(sandbox, client) end)

  before_each(function() assert(sandbox:reset()) end)

  local function ask(method, path, body)
    local response = http{ method = method, url = sandbox.url .. path, body = body and core.json_encode(body),
      headers = { "Content-Type: application/json" } }
    assert.equal(200, response.status)
    return response.json
  end

  it("events, each with the deliveries and the acks of every subscription", function()
    local request = { type = { "SMS_EVENT" }, client_id = "c", manual_ack = { enable = true }, max_in_flight = 1 }
    request.queue_name = "acks"
    local acks <close> = open(sandbox, client, SUBSCRIBE, request)
    request.queue_name = "is silent"
    local silent <close> = open(sandbox, client, SUBSCRIBE, request)
    local first = ask("POST", "/admin/events", { type = "SMS_EVENT", number = "+4799990001" }).id
    local second = ask("POST", "/admin/events", { type = "SMS_EVENT", number = "+4799990001" }).id
    local metadata = read(acks).event.metadata
    assert(client:call(ACK, { inbox = metadata.ack_inbox, sequence = metadata.sequence }))
    read(acks)
    read(silent)
    sandbox:advance(31) -- the acknowledgement timeout: both are delivered again
    read(acks)
    read(silent)
    local listed = ask("GET", "/admin/events")
    assert.same({ 1, 2 }, { listed.first, listed.last })
    local function seen(id)
      local event = listed.events[id]
      local list = { id = event.id, deliveries = event.deliveries, acks = event.acks }
      for _, record in ipairs(event.subscriptions) do
        list[record.subscription] = { record.deliveries, record.acked }
      end
      return list
    end
    assert.same({ id = first, deliveries = 3, acks = 1, ["queue acks"] = { 1, true },
      ["queue is silent"] = { 2, false } }, seen(first))
    assert.same({ id = second, deliveries = 2, acks = 0, ["queue acks"] = { 2, false } }, seen(second))
    local of_first = listed.events[first].subscriptions
    assert.same({ "queue acks", "queue is silent" }, { of_first[1].subscription, of_first[2].subscription })
  end)

  it("the journal: a delivery as it was sent, although it is sent in parts", function()
    local stream <close> = open(sandbox, client, SUBSCRIBE, { type = { "SMS_EVENT" } })
    ask("POST", "/admin/events", { type = "SMS_EVENT", number = "+4799990001", payload = { text = "in parts" } })
    local event = read(stream).event
    local shown = ask("GET", "/admin/journal?method=Subscribe").calls[1].replies
    assert.equal(1, #shown)
    assert.equal("in parts", shown[1].event.sms_event.text)
    assert.equal(event.metadata.ack_inbox, shown[1].event.metadata.ack_inbox)
  end)

  it("the types that can be published", function()
    local kinds = ask("GET", "/admin/kinds").kinds
    for _, name in ipairs(kinds) do ask("POST", "/admin/events", { type = name }) end
    assert.equal(#kinds, #sandbox:events())
    assert.is_true(#kinds > 5)
  end)

  it("streams, with what each has in flight and what waits", function()
    local stream <close> = open(sandbox, client, SUBSCRIBE, { type = { "SMS_EVENT" }, queue_name = "q", client_id = "c",
      manual_ack = { enable = true }, max_in_flight = 2 })
    for _ = 1, 5 do sandbox:publish{ type = "SMS_EVENT" } end
    read(stream)
    read(stream)
    local listed = ask("GET", "/admin/streams?method=Subscribe").streams
    assert.equal(1, #listed)
    local one = listed[1]
    assert.same({ 2, 2, 3, 1, 1 }, { one.in_flight, one.sent, one.backlog, one.members, one.received })
    assert.is_string(one.peer)
    assert.same({}, ask("GET", "/admin/streams?client=other").streams)
  end)

  it("faults: set, listed, one taken back, all taken back", function()
    local first = ask("POST", "/admin/faults", { method = "GetMsisdn", code = "ABORTED", count = 3 }).id
    local second = ask("POST", "/admin/faults", { endpoint = "token", status = 500 }).id
    local listed = ask("GET", "/admin/faults").faults
    assert.same({ id = first, method = "GetMsisdn", code = "ABORTED", count = 3, seen = 0, struck = 0 }, listed[1])
    assert.same({ id = second, endpoint = "token", status = 500, seen = 0, struck = 0 }, listed[2])
    ask("DELETE", "/admin/faults/" .. first)
    assert.equal(second, ask("GET", "/admin/faults").faults[1].id)
    ask("DELETE", "/admin/faults")
    assert.same({}, ask("GET", "/admin/faults").faults)
  end)

  it("the clock", function()
    local before = ask("GET", "/admin/clock")
    assert.is_true(before.virtual)
    assert.matches("^%d+%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", before.text)
    assert.equal(before.time + 90.5, ask("POST", "/admin/clock", { advance = 90.5 }).time)
    assert.equal(before.time + 90.5, ask("GET", "/admin/clock").time)
  end)

  it("number pools: that of all, that of a client, another one", function()
    local pools = ask("GET", "/admin/numbers").pools
    assert.is_true(#pools[""] > 0)
    assert.same({ "+4799990088" }, pools.other)
    ask("POST", "/admin/numbers", { numbers = { "+4799990077" } })
    ask("POST", "/admin/numbers", { numbers = { "+4799990066", "+4799990067" }, client = "id" })
    pools = ask("GET", "/admin/numbers").pools
    assert.same({ { "+4799990077" }, { "+4799990066", "+4799990067" }, { "+4799990088" } },
      { pools[""], pools.id, pools.other })
    sandbox:publish{ type = "SMS_EVENT" }
    assert.equal("+4799990077", sandbox:events()[1].number)
  end)

  it("the journal: the last calls, as many as the setting says; a stream that goes on keeps its place", function()
    local small <close> = assert(require("wgtwo").sandbox.start{ journal = 3 })
    local caller <close> = support.connect(small, { "subscription.id:read", "events.sms.subscribe" })
    local stream <close> = open(small, caller, SUBSCRIBE, { type = { "SMS_EVENT" } }) -- luacheck: ignore 211
    local began = small:streams()[1].id
    for i = 1, 7 do assert(caller:call(GET_MSISDN, { subscription_id = { value = "s" .. i } })) end
    local calls = {}
    for i, call in ipairs(small:journal()) do
      calls[i] = { call.id - began, call.method, call.requests[1].subscription_id.value, call.code, call.received,
        call.sent }
    end
    assert.same({ { 5, GET_MSISDN, "s5", "OK", 1, 1 }, { 6, GET_MSISDN, "s6", "OK", 1, 1 },
      { 7, GET_MSISDN, "s7", "OK", 1, 1 } }, calls)
    assert.same({ began, SUBSCRIBE }, { small:streams()[1].id, small:streams()[1].method })
  end)

  it("the journal: some of it, a call that a fault struck, and emptied", function()
    for i = 1, 3 do
      if i == 2 then sandbox:fault{ method = "GetMsisdn", code = "ABORTED", count = 1 } end
      client:call("GetMsisdn", { subscription_id = { value = "s" .. i } })
    end
    local calls = ask("GET", "/admin/journal").calls
    assert.same({ "OK", "ABORTED", "OK" }, { calls[1].code, calls[2].code, calls[3].code })
    assert.same({ nil, true, nil }, { calls[1].fault, calls[2].fault, calls[3].fault })
    local last = ask("GET", "/admin/journal?limit=1").calls
    assert.same({ 1, "s3" }, { #last, last[1].requests[1].subscription_id.value })
    assert.equal(2, #ask("GET", "/admin/journal?after=" .. calls[1].id).calls)
    assert.same({}, ask("GET", "/admin/journal?client=other").calls)
    ask("DELETE", "/admin/journal")
    assert.same({}, ask("GET", "/admin/journal").calls)
  end)

  it("the journal: whose a refused call was; it said no client, and a search for it found nothing", function()
    local token = support.post(sandbox, "/oauth2/token", { grant_type = "client_credentials",
      scope = "events.sms.subscribe" }, { username = "id", password = "secret" }).json
    local function refused(value)
      local _, err = client:call(GET_MSISDN, { subscription_id = { value = "s" } },
        { metadata = { authorization = "Bearer " .. value } })
      local calls = ask("GET", "/admin/journal?method=GetMsisdn&client=id").calls
      return err.code, #calls
    end
    assert.same({ "PERMISSION_DENIED", 1 }, { refused(token.access_token) })
    sandbox:advance(token.expires_in)
    assert.same({ "UNAUTHENTICATED", 2 }, { refused(token.access_token) })
    assert.same({ "UNAUTHENTICATED", 2 }, { refused("nobody's") })
  end)

  it("reset, snapshot and restore", function()
    sandbox:publish{ type = "SMS_EVENT", payload = { text = "kept" } }
    ask("POST", "/admin/generate", { plans = { { types = { "VOICE_EVENT" }, rate = 1 } } })
    local snapshot = ask("GET", "/admin/snapshot")
    ask("POST", "/admin/reset", {})
    sandbox:advance(5)
    assert.same({}, ask("GET", "/admin/events").events)
    ask("POST", "/admin/snapshot", snapshot)
    assert.equal(snapshot.time, sandbox:time())
    sandbox:advance(2)
    local events = ask("GET", "/admin/events").events
    assert.same({ 3, "kept", "VOICE_EVENT" }, { #events, events[1].payload.text, events[3].type })
  end)

  it("a snapshot has the deliveries, and answers to number lookups", function()
    local stream <close> = open(sandbox, client, SUBSCRIBE, { type = { "SMS_EVENT" } })
    sandbox:publish{ type = "SMS_EVENT" }
    read(stream)
    local before = ask("GET", "/admin/events").events
    assert.same({ 1, 1 }, { before[1].deliveries, before[1].acks })
    local snapshot = ask("GET", "/admin/snapshot")
    snapshot.lookups = { { id = "l1", number = "+4799990001", name = "Ola" } }
    ask("POST", "/admin/snapshot", snapshot)
    assert.same(before, ask("GET", "/admin/events").events)
    assert.same(snapshot.lookups, ask("GET", "/admin/lookups").lookups)
  end)

  it("a snapshot that cannot be read took everything away", function()
    sandbox:publish{ type = "SMS_EVENT", payload = { text = "kept" } }
    local snapshot = ask("GET", "/admin/snapshot")
    local function refusal(change)
      local given = core.json_decode(core.json_encode(snapshot))
      change(given)
      local response = http{ method = "POST", url = sandbox.url .. "/admin/snapshot", body = core.json_encode(given),
        headers = { "Content-Type: application/json" } }
      assert.equal(400, response.status)
      assert.equal(snapshot.time, sandbox:time())
      assert.equal("kept", ask("GET", "/admin/events").events[1].payload.text)
      return response.json.error_description
    end
    for _, name in ipairs{ "events", "faults", "last", "pools", "random", "subscriptions", "tokens", "time" } do
      assert.matches("it has no " .. name, refusal(function(given) given[name] = nil end))
      assert.matches("it has no " .. name, refusal(function(given) given[name] = "x" end))
    end
    local deep = refusal(function(given) given.events[1].type = "nonsense" end)
    assert.matches("^the snapshot cannot be read: ", deep)
    assert.not_matches("%.lua:", deep)
  end)

  local function refusal(method, path, body)
    local response = http{ method = method, url = sandbox.url .. path, body = body,
      headers = { "Content-Type: application/json" } }
    assert.equal(400, response.status, path .. " " .. tostring(body))
    return response.json.error_description
  end

  it("an advance that no clock can show stopped it for good", function()
    local before = sandbox:time()
    for _, far in ipairs{ "1e18", "1e300" } do
      assert.matches("advance must be", refusal("POST", "/admin/clock", '{"advance":' .. far .. "}"), 1, true)
    end
    assert.equal(before, sandbox:time())
  end)

  it("virtual time ends with the year 9998", function()
    local late <close> = support.start{ clock = "virtual" }
    local snapshot = late:snapshot()
    snapshot.time = 253370764800 - 60
    assert(late:restore(snapshot))
    local time, err = late:advance(61)
    assert.is_nil(time)
    assert.matches("ends with the year 9998", err.message, 1, true)
    assert(late:advance(60))
    assert.equal("9999-01-01T00:00:00.000Z", http{ url = late.url .. "/admin/clock" }.json.text)
    assert(late:publish{ type = "SMS_EVENT" })
  end)

  it("a snapshot with a time that is none broke the clock for good", function()
    local snapshot = ask("GET", "/admin/snapshot")
    for name, values in pairs{ time = { "x", 1e300, -1 }, virtual = { 1, "true" } } do
      for _, value in ipairs(values) do
        local given = core.json_decode(core.json_encode(snapshot))
        given[name] = value
        assert.matches(name, refusal("POST", "/admin/snapshot", core.json_encode(given)), 1, true)
      end
    end
    assert.equal(snapshot.time, sandbox:time())
    assert(sandbox:publish{ type = "SMS_EVENT" })
  end)

  it("an answer that cannot be sent is 500 and told on standard error; whoever asked waited for ever", function()
    local answers, told, stderr = {}, "", io.stderr
    local request = {
      path = function() return "/here" end,
      respond = function(_, status, headers, body)
        if headers.Location == "a\nb" then error("no header") end
        answers[#answers + 1] = { status, core.json_decode(body).error }
      end,
    }
    io.stderr = { write = function(_, ...) told = told .. table.concat{ ... } end } -- luacheck: ignore 122
    local ok, problem = pcall(require("wgtwo.sandbox.http").respond, request, 302, "", { Location = "a\nb" })
    io.stderr = stderr -- luacheck: ignore 122
    assert(ok, problem)
    assert.same({ { 500, "server_error" } }, answers)
    assert.matches("/here: .*no header", told)
  end)

  it("fewer than none of a list was an empty list", function()
    for _, path in ipairs{ "/admin/events?limit=-1", "/admin/journal?limit=-1", "/admin/events?after=-1" } do
      assert.matches("an integer is needed, 0 or more", refusal("GET", path), 1, true)
    end
  end)

  describe("what is not known is refused, and named:", function()
    it("a field that was written wrongly published an event without it", function()
      assert.matches('unknown option "numbr"; did you mean "number"?',
        refusal("POST", "/admin/events", '{"type":"SMS_EVENT","numbr":"+4799990001"}'), 1, true)
      assert.matches("type is required", refusal("POST", "/admin/events", "{}"), 1, true)
      assert.matches("named options only", refusal("POST", "/admin/events", "[1]"), 1, true)
      assert.same({}, ask("GET", "/admin/events").events)
    end)

    it("null was shown as userdata, a body that is no object as nil", function()
      assert.matches("number must be a string, not null",
        refusal("POST", "/admin/events", '{"type":"SMS_EVENT","number":null}'), 1, true)
      for _, body in ipairs{ '"x"', "5", "null", "true" } do
        assert.equal("the body is no JSON object", refusal("POST", "/admin/events", body))
      end
      assert.matches("^the body is no JSON object: .", refusal("POST", "/admin/events", "{"))
    end)

    it("a body without plans took all fake events away", function()
      sandbox:generate{ { types = { "SMS_EVENT" }, rate = 1 } }
      assert.matches('unknown option "plan"; did you mean "plans"?',
        refusal("POST", "/admin/generate", '{"plan":[]}'), 1, true)
      assert.matches("plans is required", refusal("POST", "/admin/generate", "{}"), 1, true)
      sandbox:advance(1.5)
      assert.equal(1, #ask("GET", "/admin/events").events)
    end)

    it("a filter that was written wrongly let everything through", function()
      assert.matches('"methd"; did you mean "method"?', refusal("GET", "/admin/journal?methd=x"), 1, true)
      assert.matches('unknown option "methd"', refusal("DELETE", "/admin/streams?methd=Subscribe"), 1, true)
      assert.matches("limit: an integer is needed", refusal("GET", "/admin/events?limit=x"), 1, true)
      assert.matches('no event type "SMS_EVNT"; did you mean', refusal("GET", "/admin/events?type=SMS_EVNT"), 1, true)
      assert.error_matches(function() sandbox:events{ typ = "SMS_EVENT" } end, 'unknown option "typ"', 1, true)
    end)

    it("of the others too", function()
      assert.matches('did you mean "advance"', refusal("POST", "/admin/clock", '{"advanc":1}'), 1, true)
      assert.matches("numbers is required", refusal("POST", "/admin/numbers", "{}"), 1, true)
      assert.matches('unknown option "nummer"', refusal("POST", "/admin/lookups", '{"nummer":"+4799990001"}'), 1, true)
      assert.matches('unknown option "all"', refusal("POST", "/admin/reset", '{"all":true}'), 1, true)
    end)
  end)

  it("a plan for a client that there is not made events that nobody got", function()
    assert.error_matches(function() sandbox:generate{ { client = "othr" } } end,
      'there is no client "othr"; did you mean "other"?', 1, true)
    assert.error_matches(function() support.start{ generate = { client = "nobody" } } end, 'client "nobody"', 1, true)
    assert.is_true(sandbox:generate{ { client = "other" } })
  end)

  it("a plan without types ended the sandbox at its first event", function()
    assert.has_error(function() sandbox:generate{ { types = {}, rate = 1 } } end)
    sandbox:advance(1.5)
    assert.same({}, sandbox:events())
  end)
end)

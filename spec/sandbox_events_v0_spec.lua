local support = require("spec.support.sandbox")
local wgtwo = require("wgtwo")

local open, read, quiet = support.open, support.read, support.quiet

local SUBSCRIBE <const>, ACK <const> = "wgtwo.events.v0.EventsService/Subscribe", "wgtwo.events.v0.EventsService/Ack"
local MANUAL <const> = { enable = true, timeout = 30 }

describe("sandbox events v0:", function()
  local sandbox, client

  setup(function()
    sandbox, client = support.start_with_client({ clock = "virtual", clients = {
      { id = "id", secret = "secret" }, { id = "other", secret = "secret2" },
    } })
  end)

  teardown(function() support.close(sandbox, client) end)

  before_each(function() assert(sandbox:reset()) end)

  local function subscribe(request, by)
    request.type = request.type or { "SMS_EVENT" }
    return open(sandbox, by or client, SUBSCRIBE, request)
  end

  local function publish(text, more)
    local event = { type = "SMS_EVENT", number = "+4799990001", payload = { text = text } }
    for name, value in pairs(more or {}) do event[name] = value end
    return assert(sandbox:publish(event))
  end

  local function text(message) return message.event.sms_event.text end

  local function ack(message, by)
    local metadata = message.event.metadata
    return (by or client):call(ACK, { inbox = metadata.ack_inbox, sequence = metadata.sequence })
  end

  --- Closes a stream and waits until the sandbox has noticed.
  local function leave(stream)
    local before = #sandbox:streams()
    stream:close()
    support.until_(function() return #sandbox:streams() < before end, "the end of the stream")
  end

  it("one event a message, with its metadata, timestamp and owner", function()
    local stream <close> = subscribe{}
    local id = publish("hello")
    local event = read(stream).event
    assert.equal(id, event.metadata.sequence)
    assert.is_false(event.metadata.is_redelivered)
    assert.not_equal("", event.metadata.ack_inbox)
    assert.equal(sandbox:time(), event.timestamp.seconds + event.timestamp.nanos / 1e9)
    assert.equal("hello", event.sms_event.text)
    assert.equal("TO_SUBSCRIBER", event.sms_event.direction)
    assert.equal("+4799990001", event.owner.phone_number.e164)
    assert.not_equal("", event.owner.sub)
  end)

  it("every type can be published with nothing but its name, and arrives in its own field", function()
    local fields = wgtwo.limits.events_v0.fields
    local names = {}
    for name in pairs(fields) do names[#names + 1] = name end
    table.sort(names)
    local stream <close> = subscribe{ type = names }
    for _, name in ipairs(names) do
      publish(nil, { type = name, payload = {} })
      assert.equal(fields[name], wgtwo.message.which(read(stream).event, "event"))
    end
  end)

  it("only the types that are asked for", function()
    local stream <close> = subscribe{ type = { "VOICE_EVENT", "CONSENT_REVOKE_EVENT" } }
    publish("not this one")
    publish(nil, { type = "VOICE_EVENT", payload = {} })
    assert.is_truthy(read(stream).event.voice_event)
    quiet(sandbox, stream)
  end)

  describe("start positions:", function()
    local function first_of(request)
      local stream <close> = subscribe(request)
      return text(read(stream))
    end

    local ids, times

    before_each(function()
      ids, times = {}, {}
      for i = 1, 4 do
        sandbox:advance(60)
        ids[i], times[i] = publish("e" .. i), sandbox:time()
      end
      sandbox:advance(1)
    end)

    it("none: new events only", function()
      local stream <close> = subscribe{}
      quiet(sandbox, stream)
      publish("new")
      assert.equal("new", text(read(stream)))
    end)

    it("a sequence, 0 being the oldest", function()
      assert.equal("e3", first_of{ start_at_sequence = ids[3] })
      assert.equal("e1", first_of{ start_at_sequence = 0 })
    end)

    it("a timestamp", function()
      assert.equal("e2", first_of{ start_at_timestamp = times[2] })
      assert.equal("e3", first_of{ start_at_timestamp = times[2] + 0.5 })
    end)

    it("a timestamp missed the event of that very time, which is shown in whole microseconds", function()
      for i = 1, 5 do
        sandbox:advance(0.1234567)
        publish("t" .. i)
        local by_number <close> = subscribe{ start_at_sequence = ids[4] + i }
        assert.equal("t" .. i, first_of{ start_at_timestamp = read(by_number).event.timestamp })
      end
    end)

    it("a time back from now", function()
      assert.equal("e3", first_of{ start_at_time_delta = 61 })
      assert.equal("e4", first_of{ start_at_time_delta = 60 })
    end)

    it("the last received", function()
      publish(nil, { type = "VOICE_EVENT", payload = {} }) -- of another type
      assert.equal("e4", first_of{ start_with_last_received = {} })
    end)

    it("the oldest possible: 30 minutes of history", function()
      assert.equal("e1", first_of{ start_at_oldest_possible = {} })
      sandbox:advance(30 * 60 - 3 * 60) -- e1 is 30 minutes and a second old
      assert.equal("e2", first_of{ start_at_oldest_possible = {} })
    end)

    it("count only where no position is stored", function()
      local request = { client_id = "c", durable_name = "d", manual_ack = MANUAL, max_in_flight = 1,
        start_at_sequence = ids[3] }
      local stream = subscribe(request)
      assert(ack(read(stream)))
      assert.equal("e4", text(read(stream)))
      leave(stream)
      request.start_at_sequence = nil
      local positions = { start_at_sequence = ids[1], start_at_timestamp = times[1], start_at_time_delta = 600,
        start_with_last_received = {}, start_at_oldest_possible = {} }
      publish("e5")
      for name, position in pairs(positions) do
        request[name] = position
        assert.equal("e4", first_of(request), name)
        support.until_(function() return #sandbox:streams() == 0 end, "the end of the stream")
        request[name] = nil
      end
    end)

    it("a position that is kept for longer than the history loses what has left it", function()
      local request = { client_id = "c", durable_name = "d" }
      leave(subscribe(request))
      publish("31 minutes old")
      sandbox:advance(16 * 60)
      publish("15 minutes old")
      sandbox:advance(15 * 60)
      assert.equal("15 minutes old", first_of(request))
    end)
  end)

  describe("kinds of subscription:", function()
    it("regular: every connection sees every event, and its position goes with it", function()
      local a <close>, b = subscribe{}, subscribe{}
      publish("for both")
      assert.equal("for both", text(read(a)))
      assert.equal("for both", text(read(b)))
      leave(b)
      publish("while away")
      local c <close> = subscribe{}
      publish("after")
      assert.equal("after", text(read(c)))
      assert.equal("while away", text(read(a)))
    end)

    it("durable: the position survives a disconnect for an hour", function()
      local request = { client_id = "c", durable_name = "d" }
      local stream = subscribe(request)
      publish("one")
      assert.equal("one", text(read(stream)))
      leave(stream)
      sandbox:advance(3599)
      publish("two")
      stream = subscribe(request)
      assert.equal("two", text(read(stream)))
      leave(stream)
      publish("lost")
      sandbox:advance(3601)
      stream = subscribe(request)
      publish("three")
      assert.equal("three", text(read(stream)))
      stream:close()
    end)

    it("durable: identified by client_id and durable_name", function()
      local a <close> = subscribe{ client_id = "c", durable_name = "d" }
      local b <close> = subscribe{ client_id = "c2", durable_name = "d" }
      local c <close> = subscribe{ client_id = "c", durable_name = "d2" }
      publish("for each")
      for _, stream in ipairs{ a, b, c } do assert.equal("for each", text(read(stream))) end
    end)

    it("durable: with other types the same names went on with the types, and the scopes, of before", function()
      local sms <close> = support.connect(sandbox, { "events.sms.subscribe" })
      local voice <close> = support.connect(sandbox, { "events.voice.subscribe" })
      leave(subscribe({ client_id = "c", durable_name = "d" }, sms))
      publish("not for voice")
      local stream <close> = subscribe({ client_id = "c", durable_name = "d", type = { "VOICE_EVENT" } }, voice)
      assert(sandbox:publish{ type = "VOICE_EVENT" })
      assert.is_truthy(read(stream).event.voice_event)
      quiet(sandbox, stream)
    end)

    it("durable: a second connection takes over", function()
      local request = { client_id = "c", durable_name = "d", manual_ack = MANUAL }
      local a <close> = subscribe(request)
      publish("unacknowledged")
      assert.equal("unacknowledged", text(read(a)))
      local b <close> = assert(client:stream(SUBSCRIBE, { type = { "SMS_EVENT" }, client_id = "c", durable_name = "d",
        manual_ack = MANUAL }))
      local message = read(b)
      assert.equal("unacknowledged", text(message))
      assert.is_true(message.event.metadata.is_redelivered)
      assert.equal("ABORTED", (support.ending(a)))
    end)

    it("queue: each event goes to one member, in turn", function()
      local request = { client_id = "c", queue_name = "q" }
      local a <close> = subscribe(request)
      local b <close> = subscribe(request)
      for i = 1, 4 do publish("e" .. i) end
      local got = { text(read(a)), text(read(a)), text(read(b)), text(read(b)) }
      table.sort(got)
      assert.same({ "e1", "e2", "e3", "e4" }, got)
      quiet(sandbox, a)
      quiet(sandbox, b)
    end)

    it("queue: the position is lost when the last member leaves", function()
      local request = { client_id = "c", queue_name = "q" }
      leave(subscribe(request))
      publish("lost")
      local stream <close> = subscribe(request)
      quiet(sandbox, stream)
    end)

    it("queue: a newcomer's start position is ignored while others are connected", function()
      publish("before")
      local a <close> = subscribe{ client_id = "c", queue_name = "q" }
      local b <close> = subscribe{ client_id = "c", queue_name = "q", start_at_oldest_possible = {} }
      quiet(sandbox, a)
      quiet(sandbox, b)
    end)

    it("durable queue: the position survives all members leaving, for an hour", function()
      local request = { durable_name = "d", queue_name = "q" }
      leave(subscribe(request))
      publish("kept")
      local stream = subscribe(request)
      assert.equal("kept", text(read(stream)))
      leave(stream)
      publish("lost")
      sandbox:advance(3601)
      stream = subscribe(request)
      quiet(sandbox, stream)
      stream:close()
    end)

    it("durable queue: what its members left unacknowledged comes again to whoever comes within the hour", function()
      local request = { durable_name = "d", queue_name = "q", manual_ack = MANUAL }
      local a, b = subscribe(request), subscribe(request)
      local ids = { publish("e1"), publish("e2") }
      read(a)
      read(b)
      leave(a)
      read(b) -- what the first had
      leave(b)
      sandbox:advance(3599)
      local c <close> = subscribe(request)
      for _, id in ipairs(ids) do
        local message = read(c)
        assert.same({ id, true }, { message.event.metadata.sequence, message.event.metadata.is_redelivered })
        assert(ack(message))
      end
      quiet(sandbox, c)
    end)

    it("a queue and a durable subscription need a client_id", function()
      for _, request in ipairs{ { queue_name = "q" }, { durable_name = "d" } } do
        request.type = { "SMS_EVENT" }
        local stream <close> = assert(client:stream(SUBSCRIBE, request))
        local code, err = support.ending(stream)
        assert.equal("INVALID_ARGUMENT", code)
        assert.equal("client_id", err.details[1].field_violations[1].field)
      end
    end)

    it("types are needed, and must be some that there are", function()
      for _, types in ipairs{ {}, { "UNSPECIFIED" }, { 99 } } do
        local stream <close> = assert(client:stream(SUBSCRIBE, { type = types }))
        local code, err = support.ending(stream)
        assert.equal("INVALID_ARGUMENT", code)
        assert.matches("^type", err.details[1].field_violations[1].field)
      end
    end)
  end)

  describe("acknowledgement:", function()
    it("an event that is not acknowledged in time comes again, as redelivered", function()
      local stream <close> = subscribe{ manual_ack = MANUAL }
      local id = publish("again")
      local first = read(stream)
      sandbox:advance(29)
      quiet(sandbox, stream)
      sandbox:advance(2)
      local second = read(stream)
      assert.equal(id, second.event.metadata.sequence)
      assert.is_false(first.event.metadata.is_redelivered)
      assert.is_true(second.event.metadata.is_redelivered)
      assert.same({ 2, 0 }, { support.counts(sandbox, id) })
    end)

    it("it comes again after every timeout, until it is acknowledged", function()
      local stream <close> = subscribe{ manual_ack = MANUAL }
      local id = publish("again")
      read(stream)
      for i = 1, 5 do
        sandbox:advance(30)
        local message = read(stream)
        assert.is_true(message.event.metadata.is_redelivered)
        if i == 5 then assert(ack(message)) end
      end
      sandbox:advance(1000)
      quiet(sandbox, stream)
      assert.same({ 6, 1 }, { support.counts(sandbox, id) })
    end)

    it("an acknowledged one does not; the answer is an empty message", function()
      local stream <close> = subscribe{ manual_ack = MANUAL }
      local id = publish("once")
      local reply = assert(ack(read(stream)))
      assert.equal("", require("wgtwo.core").bytes(reply))
      sandbox:advance(100)
      quiet(sandbox, stream)
      assert.same({ 1, 1 }, { support.counts(sandbox, id) })
    end)

    it("the timeout is the request's, 30 s where it says none", function()
      local stream <close> = subscribe{ manual_ack = { enable = true } }
      local short <close> = subscribe{ manual_ack = { enable = true, timeout = 2.5 } }
      publish("x")
      read(stream)
      read(short)
      sandbox:advance(3)
      assert.is_true(read(short).event.metadata.is_redelivered)
      quiet(sandbox, stream)
      sandbox:advance(28)
      assert.is_true(read(stream).event.metadata.is_redelivered)
    end)

    it("without manual acknowledgement an event counts as acknowledged once sent", function()
      local stream <close> = subscribe{}
      local id = publish("x")
      read(stream)
      assert.same({ 1, 1 }, { support.counts(sandbox, id) })
      sandbox:advance(1000)
      quiet(sandbox, stream)
    end)

    it("no more than max_in_flight are unacknowledged", function()
      local stream <close> = subscribe{ manual_ack = MANUAL, max_in_flight = 2 }
      for i = 1, 4 do publish("e" .. i) end
      local first, second = read(stream), read(stream)
      assert.equal("e2", text(second))
      quiet(sandbox, stream)
      assert.equal(2, sandbox:streams()[1].in_flight)
      assert.equal(2, sandbox:streams()[1].backlog)
      assert(ack(first))
      assert.equal("e3", text(read(stream)))
      quiet(sandbox, stream)
    end)

    it("50 where the request says nothing, or 0; defaults are settings", function()
      local stream <close> = subscribe{ manual_ack = MANUAL, max_in_flight = 0 }
      for i = 1, 60 do publish("e" .. i) end
      for _ = 1, 50 do read(stream) end
      quiet(sandbox, stream)

      local other <close> = support.start{ clock = "virtual", v0_max_in_flight = 1, v0_ack_timeout = 5 }
      local by <close> = support.connect(other)
      local slow <close> = open(other, by, SUBSCRIBE, { type = { "SMS_EVENT" }, manual_ack = { enable = true } })
      other:publish{ type = "SMS_EVENT" }
      other:publish{ type = "SMS_EVENT" }
      local first = read(slow)
      quiet(other, slow)
      other:advance(5)
      local again = read(slow)
      assert.is_true(again.event.metadata.is_redelivered)
      assert.equal(first.event.metadata.sequence, again.event.metadata.sequence)
    end)

    it("one in flight keeps the order, also over a redelivery", function()
      local stream <close> = subscribe{ manual_ack = MANUAL, max_in_flight = 1 }
      publish("e1")
      publish("e2")
      read(stream)
      sandbox:advance(31)
      local again = read(stream)
      assert.equal("e1", text(again))
      assert(ack(again))
      assert.equal("e2", text(read(stream)))
    end)

    it("in a queue, what a member leaves unacknowledged goes to another at once", function()
      local request = { client_id = "c", queue_name = "q", manual_ack = MANUAL }
      local a, b = subscribe(request), subscribe(request)
      publish("x")
      local first = a:read(0.2) and a or b -- whose turn it was
      local other = first == a and b or a
      leave(first)
      local message = read(other)
      assert.equal("x", text(message))
      assert.is_true(message.event.metadata.is_redelivered)
      other:close()
    end)

    it("the inbox belongs to the connection: one held over a reconnect is lost, and the event comes again", function()
      local request = { client_id = "c", durable_name = "d", manual_ack = MANUAL }
      local stream = subscribe(request)
      local id = publish("x")
      local held = read(stream)
      leave(stream)
      stream = subscribe(request)
      assert.is_true(read(stream).event.metadata.is_redelivered)
      assert(ack(held)) -- answered OK
      assert.same({ 2, 0 }, { support.counts(sandbox, id) })
      stream:close()
    end)

    it("another client's acknowledgement has no effect", function()
      local mine <close> = support.connect(sandbox, { "events.sms.subscribe" })
      local theirs <close> = support.connect(sandbox, { "events.sms.subscribe" }, "other", "secret2")
      local stream <close> = subscribe({ manual_ack = MANUAL }, mine)
      local id = publish("x")
      local message = read(stream)
      assert(ack(message, theirs))
      assert.same({ 1, 0 }, { support.counts(sandbox, id) })
      assert(ack(message, mine))
      assert.same({ 1, 1 }, { support.counts(sandbox, id) })
    end)

    it("one of before a reset acknowledged the new event of that number", function()
      local before = subscribe{ manual_ack = MANUAL }
      publish("old")
      local old = read(before)
      sandbox:reset()
      before:close()
      local stream <close> = subscribe{ manual_ack = MANUAL }
      local id = publish("new")
      assert.equal(old.event.metadata.sequence, read(stream).event.metadata.sequence)
      assert(ack(old)) -- answered OK
      assert.same({ 1, 0 }, { support.counts(sandbox, id) })
    end)

    it("what had left the history came after one, unless somebody had looked at the history before", function()
      local stream <close> = subscribe{ manual_ack = { enable = true, timeout = 3600 }, max_in_flight = 1 }
      publish("first")
      publish("second")
      local first = read(stream)
      sandbox:advance(1900)
      assert(ack(first))
      quiet(sandbox, stream)
    end)

    it("an inbox is needed, and a timeout of more than 0", function()
      local _, err = client:call(ACK, { sequence = 1 })
      assert.equal("INVALID_ARGUMENT", err.code)
      local stream <close> = assert(client:stream(SUBSCRIBE,
        { type = { "SMS_EVENT" }, manual_ack = { enable = true, timeout = 0 } }))
      assert.equal("INVALID_ARGUMENT", (support.ending(stream)))
    end)
  end)

  describe("scope:", function()
    it("follows the event type, and the refusal names it", function()
      local scopes = wgtwo.limits.events_v0.scopes
      local one <close> = support.connect(sandbox, { "subscription.id:read" })
      for name, scope in pairs(scopes) do
        local stream <close> = assert(one:stream(SUBSCRIBE, { type = { name } }))
        if scope and scope ~= "undocumented" then
          local code, err = support.ending(stream)
          assert.equal("PERMISSION_DENIED", code)
          assert.matches(scope, err.message, 1, true)
        else
          publish(nil, { type = name, payload = {} })
          support.until_(function() return #sandbox:streams() > 0 end, "the stream of " .. name)
        end
      end
      local partly <close> = support.connect(sandbox, { "events.sms.subscribe" })
      local refused <close> = assert(partly:stream(SUBSCRIBE, { type = { "SMS_EVENT", "VOICE_EVENT" } }))
      local code, err = support.ending(refused)
      assert.equal("PERMISSION_DENIED", code)
      assert.matches("events.voice.subscribe", err.message, 1, true)
      local right <close> = support.connect(sandbox, { "events.sms.subscribe", "events.voice.subscribe" })
      local stream <close> = subscribe({ type = { "SMS_EVENT", "VOICE_EVENT" } }, right)
      publish("allowed")
      assert.equal("allowed", text(read(stream)))
    end)
  end)

  it("the scopes of the event types are the documented ones", function()
    assert.same({
      HANDSET_UPDATE_EVENT = "events.handset_update.subscribe",
      LOCATION_UPDATE_EVENT = "events.location.subscribe",
      COUNTRY_CHANGE_EVENT = "events.roaming.subscribe",
      SMS_EVENT = "events.sms.subscribe",
      SMS_DELIVERY_REPORT_EVENT = "events.sms_delivery_report.subscribe",
      VOICE_EVENT = "events.voice.subscribe",
      VOICEMAIL_EVENT = "events.voicemail.subscribe",
      CONSENT_REVOKE_EVENT = false,
      FIRST_ATTACHMENT_EVENT = "undocumented", PERIODIC_COUNTRY_EVENT = "undocumented",
      TOKEN_AUDIT_EVENT = "undocumented",
    }, wgtwo.limits.events_v0.scopes)
  end)

  it("the owner's sub is that of userinfo, another for each OAuth client", function()
    local mine <close> = support.connect(sandbox, { "events.sms.subscribe" })
    local theirs <close> = support.connect(sandbox, { "events.sms.subscribe" }, "other", "secret2")
    local a <close> = subscribe({}, mine)
    local b <close> = subscribe({}, theirs)
    publish("x")
    local function userinfo_sub(id, secret)
      local redirect = "https%3A%2F%2Fa.example%2F"
      local location = support.http{ url = ("%s/oauth2/auth?client_id=%s&redirect_uri=%s&response_type=code&"
        .. "state=12345678&scope=openid"):format(sandbox.url, id, redirect) }.headers.location
      local token = support.post(sandbox, "/oauth2/token", { grant_type = "authorization_code",
        code = location:match("code=([^&]*)"), redirect_uri = "https://a.example/" },
        { username = id, password = secret }).json.access_token
      local info = support.http{ url = sandbox.url .. "/userinfo", headers = { "Authorization: Bearer " .. token } }
      assert.equal("+4799990001", info.json.phone_number)
      return info.json.sub
    end
    local one, two = read(a).event.owner.sub, read(b).event.owner.sub
    assert.same({ userinfo_sub("id", "secret"), userinfo_sub("other", "secret2") }, { one, two })
    assert.not_equal(one, two)
  end)

  it("numbers may come without a leading plus", function()
    local without <close> = support.start{ numbers_without_plus = true }
    local by <close> = support.connect(without)
    local stream <close> = open(without, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
    without:publish{ type = "SMS_EVENT", number = "+4799990001" }
    local event = read(stream).event
    assert.equal("4799990001", event.sms_event.to_e164.e164)
    assert.equal("4799990001", event.owner.phone_number.e164)
  end)

  it("an event for one OAuth client is seen by that one alone", function()
    local mine <close> = support.connect(sandbox, { "events.sms.subscribe" })
    local theirs <close> = support.connect(sandbox, { "events.sms.subscribe" }, "other", "secret2")
    local a <close> = subscribe({}, mine)
    local b <close> = subscribe({}, theirs)
    local c <close> = subscribe{}
    publish("mine", { client = "id" })
    publish("everyone's")
    assert.equal("mine", text(read(a)))
    assert.equal("everyone's", text(read(a)))
    assert.equal("everyone's", text(read(b)))
    assert.equal("everyone's", text(read(c)))
  end)

  it("one name of two OAuth clients is two subscriptions", function()
    local mine <close> = support.connect(sandbox, { "events.sms.subscribe" })
    local theirs <close> = support.connect(sandbox, { "events.sms.subscribe" }, "other", "secret2")
    local request = { durable_name = "d", queue_name = "q" }
    local a <close> = subscribe(request, mine)
    local b <close> = subscribe(request, theirs)
    publish("x")
    assert.equal("x", text(read(a)))
    assert.equal("x", text(read(b)))
  end)
end)

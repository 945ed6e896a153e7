local support = require("spec.support.sandbox")
local wgtwo = require("wgtwo")

local open, read, quiet = support.open, support.read, support.quiet

local STREAMS <const> = wgtwo.limits.events_v1.streams
local STREAM <const>, ACK <const> = STREAMS.handset_change.stream, STREAMS.handset_change.ack
local SUCCESS <const>, FAILURE <const> = "STATUS_CODE_SUCCESS", "STATUS_CODE_FAILURE"

describe("sandbox events v1:", function()
  local sandbox, client

  setup(function()
    sandbox, client = support.start_with_client({ clock = "virtual", clients = {
      { id = "id", secret = "secret" }, { id = "other", secret = "secret2" },
    } })
  end)

  teardown(function() support.close(sandbox, client) end)

  before_each(function() assert(sandbox:reset()) end)

  local function stream_of(configuration, by, method)
    return open(sandbox, by or client, method or STREAM, { stream_configuration = configuration })
  end

  -- Events are told apart by their IMEI.
  local function publish(imei, more)
    local event = { type = "handset_change", number = "+4799990001",
      payload = { current = { imei_sv = { imei = imei } } } }
    for name, value in pairs(more or {}) do event[name] = value end
    return assert(sandbox:publish(event))
  end

  local function imei(message) return message.handset_change_event.current.imei_sv.imei end

  local function ack(message, by, method)
    local reply, err = (by or client):call(method or ACK, { ack_info = message.metadata.ack_info })
    return reply and reply.ack_status.status_code, err
  end

  local function leave(stream)
    local before = #sandbox:streams()
    stream:close()
    support.until_(function() return #sandbox:streams() < before end, "the end of the stream")
  end

  for name, method in pairs(STREAMS) do
    it(name .. ": an event, its metadata, its acknowledgement, its scope", function()
      local scopes = method.scope and { method.scope } or {}
      local right <close> = support.connect(sandbox, scopes)
      local stream <close> = open(sandbox, right, method.stream, {})
      local id = assert(sandbox:publish{ type = name, number = "+4799990002" })
      local message = read(stream)
      assert.is_truthy(message[method.field])
      assert.equal("+4799990002", message[method.field].number.e164)
      local metadata = message.metadata
      assert.equal(sandbox:time(), metadata.timestamp.seconds + metadata.timestamp.nanos / 1e9)
      assert.not_equal("", metadata.identifier.subscription_identifier.value)
      assert.not_equal("", metadata.ack_info.value)
      assert.is_false(metadata.is_redelivered)
      assert.equal(SUCCESS, ack(message, right, method.ack))
      assert.same({ 1, 1 }, { support.counts(sandbox, id) })

      local wrong <close> = support.connect(sandbox, { "subscription.id:read" })
      local refused <close> = assert(wrong:stream(method.stream, {}))
      local _, err = wrong:call(method.ack, { ack_info = metadata.ack_info })
      if method.scope then
        local code, reason = support.ending(refused)
        assert.equal("PERMISSION_DENIED", code)
        assert.matches(method.scope, reason.message, 1, true)
        assert.equal("PERMISSION_DENIED", err.code)
      else
        assert.is_nil(err)
      end
    end)
  end

  describe("durable queues:", function()
    it("the default is one named \"\", and its members share", function()
      local a <close> = stream_of(nil)
      local b <close> = stream_of({ durable_queue = {} })
      local c <close> = stream_of({ durable_queue = { custom_name = "" } })
      for i = 1, 6 do publish("i" .. i) end
      local got = {}
      for _, stream in ipairs{ a, b, c } do
        for _ = 1, 2 do got[#got + 1] = imei(read(stream)) end
      end
      table.sort(got)
      assert.same({ "i1", "i2", "i3", "i4", "i5", "i6" }, got)
    end)

    it("the split example: three \"\" get a third each, two \"alice\" a half, one \"bob\" all", function()
      local streams = {}
      for _, name in ipairs{ "", "", "", "alice", "alice", "bob" } do
        streams[#streams + 1] = stream_of({ durable_queue = { custom_name = name } })
      end
      for i = 1, 12 do publish("i" .. i) end
      for index, count in ipairs{ 4, 4, 4, 6, 6, 12 } do
        for _ = 1, count do read(streams[index]) end
        quiet(sandbox, streams[index])
      end
      for _, stream in ipairs(streams) do stream:close() end
    end)

    it("names are per OAuth client: the same name of two is two queues", function()
      local scopes = { "subscription.handset_details:read" }
      local mine <close> = support.connect(sandbox, scopes)
      local theirs <close> = support.connect(sandbox, scopes, "other", "secret2")
      local a <close> = stream_of({ durable_queue = { custom_name = "alice" } }, mine)
      local b <close> = stream_of({ durable_queue = { custom_name = "alice" } }, theirs)
      publish("x")
      assert.equal("x", imei(read(a)))
      assert.equal("x", imei(read(b)))
    end)

    it("the position is kept for an hour after the last disconnect", function()
      leave(stream_of(nil))
      publish("kept")
      sandbox:advance(1000)
      local stream = stream_of(nil)
      local message = read(stream)
      assert.equal("kept", imei(message))
      assert.equal(SUCCESS, ack(message))
      leave(stream)
      sandbox:advance(3000)
      publish("also kept")
      stream = stream_of(nil)
      assert.equal("also kept", imei(read(stream)))
      leave(stream)
      publish("lost")
      sandbox:advance(3601)
      stream = stream_of(nil)
      quiet(sandbox, stream)
      stream:close()
    end)

    it("how long it is kept is a setting, since the same text also says 30 minutes", function()
      local other <close> = support.start{ clock = "virtual", position_kept = 1800 }
      local by <close> = support.connect(other)
      local function visit()
        local stream = open(other, by, STREAM, {})
        local message = stream:read(0.1)
        stream:close()
        support.until_(function() return #other:streams() == 0 end, "the end of the stream")
        return message and imei(message)
      end
      local function publish_there(text)
        other:publish{ type = "handset_change", payload = { current = { imei_sv = { imei = text } } } }
      end
      visit()
      publish_there("kept")
      other:advance(1799)
      assert.equal("kept", visit())
      publish_there("lost")
      other:advance(1801)
      assert.is_nil(visit())
    end)

    it("what is unacknowledged comes again after a reconnect, and acks held over it count", function()
      local stream = stream_of(nil)
      local id = publish("x")
      local held = read(stream)
      leave(stream)
      stream = stream_of(nil)
      local again = read(stream)
      assert.is_true(again.metadata.is_redelivered)
      assert.equal(SUCCESS, ack(held))
      assert.same({ 2, 1 }, { support.counts(sandbox, id) })
      sandbox:advance(100)
      quiet(sandbox, stream)
      stream:close()
    end)
  end)

  it("regular streams: every connection gets all", function()
    local a <close> = stream_of({ regular = {} })
    local b <close> = stream_of({ regular = {} })
    publish("for both")
    assert.equal("for both", imei(read(a)))
    assert.equal("for both", imei(read(b)))
  end)

  describe("acknowledgement:", function()
    it("explicit by default: again after 30 s, as redelivered", function()
      local stream <close> = stream_of(nil)
      local id = publish("x")
      read(stream)
      sandbox:advance(29)
      quiet(sandbox, stream)
      sandbox:advance(2)
      local message = read(stream)
      assert.is_true(message.metadata.is_redelivered)
      assert.equal(SUCCESS, ack(message))
      sandbox:advance(100)
      quiet(sandbox, stream)
      assert.same({ 2, 1 }, { support.counts(sandbox, id) })
    end)

    it("it comes again after every timeout, until it is acknowledged", function()
      local stream <close> = stream_of(nil)
      local id = publish("x")
      read(stream)
      local message
      for _ = 1, 5 do
        sandbox:advance(30)
        message = read(stream)
        assert.is_true(message.metadata.is_redelivered)
      end
      assert.equal(SUCCESS, ack(message))
      sandbox:advance(1000)
      quiet(sandbox, stream)
      assert.same({ 6, 1 }, { support.counts(sandbox, id) })
    end)

    it("a custom timeout from 10 s to 10 min", function()
      local short <close> = stream_of({ regular = {}, custom_ack_timeout = 10 })
      local long <close> = stream_of({ regular = {}, custom_ack_timeout = 600 })
      publish("x")
      read(short)
      read(long)
      sandbox:advance(11)
      assert.is_true(read(short).metadata.is_redelivered)
      quiet(sandbox, long)
      for _, seconds in ipairs{ 9.9, 600.1 } do
        local stream <close> = assert(client:stream(STREAM, { stream_configuration = {
          custom_ack_timeout = seconds } }))
        local code, err = support.ending(stream)
        assert.equal("INVALID_ARGUMENT", code)
        assert.equal("stream_configuration.custom_ack_timeout", err.details[1].field_violations[1].field)
      end
    end)

    it("disabled: an event counts as acknowledged once sent", function()
      local stream <close> = stream_of({ disable_explicit_ack = {} })
      local id = publish("x")
      read(stream)
      assert.same({ 1, 1 }, { support.counts(sandbox, id) })
      sandbox:advance(1000)
      quiet(sandbox, stream)
    end)

    it("any ack_info of an event's deliveries is taken, and acknowledging again is a success", function()
      local stream <close> = stream_of(nil)
      publish("x")
      local first = read(stream)
      sandbox:advance(31)
      local second = read(stream)
      assert.not_equal(first.metadata.ack_info.value, second.metadata.ack_info.value)
      assert.equal(SUCCESS, ack(first))
      assert.equal(SUCCESS, ack(second))
    end)

    it("one of an event that has left the history is a success: nobody knows", function()
      local stream <close> = stream_of(nil)
      publish("x")
      local message = read(stream)
      assert.equal(SUCCESS, ack(message))
      sandbox:advance(1900)
      assert.same({}, sandbox:events())
      assert.equal(SUCCESS, ack(message))
    end)

    it("one of an event that was never delivered was a success", function()
      local stream <close> = stream_of(nil)
      publish("x")
      local info = read(stream).metadata.ack_info.value
      for _, id in ipairs{ "0", "2", "99999999999999999999" } do
        local never = info:gsub("^(.-%.%d+%.)%d+", "%1" .. id)
        assert.equal(FAILURE, client:call(ACK, { ack_info = { value = never } }).ack_status.status_code)
      end
    end)

    it("one of before a reset acknowledged the new event of that number", function()
      local before = stream_of(nil)
      publish("old")
      local old = read(before)
      sandbox:reset()
      before:close()
      local stream <close> = stream_of(nil)
      local id = publish("new")
      read(stream)
      assert.equal(FAILURE, (ack(old)))
      assert.same({ 1, 0 }, { support.counts(sandbox, id) })
    end)

    it("of nothing that is known is OK with FAILURE: malformed, of another stream, another client, gone", function()
      local scopes = { "subscription.handset_details:read" }
      local mine <close> = support.connect(sandbox, scopes)
      local theirs <close> = support.connect(sandbox, scopes, "other", "secret2")
      local stream = stream_of({ regular = {} }, mine)
      publish("x")
      local message = read(stream)
      assert.equal(FAILURE, client:call(ACK, { ack_info = { value = "nonsense" } }).ack_status.status_code)
      assert.equal(FAILURE, client:call(ACK, {}).ack_status.status_code)
      assert.equal(FAILURE, (ack(message, client, STREAMS.country_change.ack)))
      assert.equal(FAILURE, (ack(message, theirs)))
      leave(stream)
      assert.equal(FAILURE, (ack(message, mine)))
    end)
  end)

  it("in flight: 50 by default, 1 to 200", function()
    local function in_flight(max)
      local stream <close> = stream_of({ regular = {}, max_in_flight = max })
      for i = 1, 210 do publish("i" .. i) end
      local count
      support.until_(function()
        count = sandbox:streams{ method = STREAM }[1].in_flight
        return count >= (max or 50)
      end, "the deliveries")
      leave(stream)
      return count
    end
    assert.equal(50, in_flight(nil))
    assert.equal(1, in_flight(1))
    assert.equal(200, in_flight(200))
    local stream <close> = assert(client:stream(STREAM, { stream_configuration = { max_in_flight = 201 } }))
    assert.equal("INVALID_ARGUMENT", (support.ending(stream)))
  end)

  describe("start positions, where none is stored:", function()
    local ids, times

    before_each(function()
      ids, times = {}, {}
      for i = 1, 4 do
        sandbox:advance(60)
        ids[i], times[i] = publish("i" .. i), sandbox:time()
      end
    end)

    local function first_of(configuration)
      configuration.regular = {}
      local stream <close> = stream_of(configuration)
      return imei(read(stream))
    end

    it("new is the default", function()
      for _, configuration in ipairs{ {}, { start_at_new = {} } } do
        local stream <close> = stream_of(configuration)
        quiet(sandbox, stream)
        leave(stream)
      end
    end)

    it("an id, a timestamp, the oldest of 30 minutes", function()
      assert.equal("i3", first_of{ start_at_id = ids[3] })
      assert.equal("i2", first_of{ start_at_timestamp = times[2] })
      assert.equal("i1", first_of{ start_at_oldest_possible = {} })
      sandbox:advance(30 * 60 - 3 * 60 + 1) -- the first is 30 minutes and a second old
      assert.equal("i2", first_of{ start_at_oldest_possible = {} })
    end)

    it("are ignored where one is stored", function()
      leave(stream_of({ start_at_id = ids[4] }))
      local positions = { start_at_new = {}, start_at_id = ids[1], start_at_timestamp = times[1],
        start_at_oldest_possible = {} }
      for name, position in pairs(positions) do
        local stream = stream_of({ [name] = position })
        assert.equal("i4", imei(read(stream)), name)
        leave(stream)
      end
    end)
  end)
end)

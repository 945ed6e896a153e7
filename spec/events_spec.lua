local Api = require("spec.support.api")
local feeds = require("spec.support.feeds")
local wgtwo = require("wgtwo")

local SUBSCRIBE, ACK, HANDSETS = feeds.SUBSCRIBE, feeds.ACK, feeds.HANDSETS

describe("events", function()
  local api, client

  local function connect(options)
    local all = { target = api.target, plaintext = true, auth = false, logger = false }
    for key, value in pairs(options or {}) do all[key] = value end
    client = assert(wgtwo.connect(all))
    return client
  end

  before_each(function()
    api = Api.start()
    connect()
  end)

  after_each(function()
    client:close()
    api:stop()
  end)

  -- The request that a subscription sends.
  local function request_of(options, method)
    feeds.send(api, method or SUBSCRIBE, {})
    local sub = client:events(options)
    api:until_(function()
      local seen = api:seen(method or SUBSCRIBE)
      return seen[1] and seen[1].request
    end)
    sub:close()
    return wgtwo.message.totable(api:seen(method or SUBSCRIBE)[1].request)
  end

  describe("the request of v0", function()
    it("of a queue: names, manual acknowledgement, the recommended numbers", function()
      assert.same({
        type = { "SMS_EVENT", "VOICE_EVENT" }, queue_name = "billing", durable_name = "billing", client_id = "wgtwo",
        max_in_flight = 50, manual_ack = { enable = true, timeout = { seconds = 30, nanos = 0 } },
      }, request_of{ types = { "SMS_EVENT", "VOICE_EVENT" }, queue = "billing" })
    end)

    it("of a regular stream: the types alone", function()
      assert.same({ type = { "SMS_EVENT" } }, request_of{ types = { "SMS_EVENT" } })
    end)

    it("takes each name, and the OAuth client's as client_id", function()
      local source = { client_id = "my-client", token = function() return { access_token = "x" } end }
      client:close()
      connect{ auth = source }
      local request = request_of{ types = { "SMS_EVENT" }, durable_name = "d", queue_name = "q", max_in_flight = 7,
        ack_timeout = 12.5, ack = "auto" }
      assert.equal("d", request.durable_name)
      assert.equal("q", request.queue_name)
      assert.equal("my-client", request.client_id)
      assert.equal(7, request.max_in_flight)
      assert.same({ seconds = 12, nanos = 500000000 }, request.manual_ack.timeout)
    end)

    for name, case in pairs{
      new = { "new", {} },
      oldest = { "oldest", { start_at_oldest_possible = {} } },
      last_received = { "last_received", { start_with_last_received = {} } },
      sequence = { { sequence = 17 }, { start_at_sequence = 17 } },
      timestamp = { { timestamp = 1700000000.25 },
        { start_at_timestamp = { seconds = 1700000000, nanos = 250000000 } } },
      ago = { { ago = 90 }, { start_at_time_delta = { seconds = 90, nanos = 0 } } },
    } do
      it("starts at " .. name, function()
        local expected = { type = { "SMS_EVENT" } }
        for key, value in pairs(case[2]) do expected[key] = value end
        assert.same(expected, request_of{ types = { "SMS_EVENT" }, start = case[1] })
      end)
    end
  end)

  describe("the request of v1", function()
    local function configuration(options)
      options.types = { "handset_change" }
      return request_of(options, HANDSETS).stream_configuration
    end

    it("of a queue, of the default queue, and of a regular stream", function()
      assert.same({ durable_queue = { custom_name = "billing" } }, configuration{ queue = "billing" })
      api.calls = {}
      assert.same({ durable_queue = {} }, configuration{ queue = "" })
      api.calls = {}
      assert.same({ regular = {}, disable_explicit_ack = {} }, configuration{})
    end)

    it("takes the numbers and the start", function()
      assert.same({ durable_queue = { custom_name = "q" }, max_in_flight = 200,
        custom_ack_timeout = { seconds = 600, nanos = 0 }, start_at_oldest_possible = {} },
        configuration{ queue = "q", max_in_flight = 200, ack_timeout = 600, start = "oldest" })
      api.calls = {}
      assert.equal(5, configuration{ queue = "q", start = { sequence = 5 } }.start_at_id)
    end)
  end)

  it("checks its options before anything is sent", function()
    for pattern, options in pairs{
      ["types is required"] = {},
      ['unknown value "SMS_EVENTS".*SMS_EVENT'] = { types = { "SMS_EVENTS" } },
      ['"SMS_EVENT" twice'] = { types = { "SMS_EVENT", "SMS_EVENT" } },
      ['unknown option "que".*queue'] = { types = { "SMS_EVENT" }, que = "x" },
      ["max_in_flight must be from 1 to 200 for v1, not 201"] = { types = { "handset_change" }, max_in_flight = 201 },
      ["max_in_flight must be from 1"] = { types = { "SMS_EVENT" }, max_in_flight = 0 },
      ["ack_timeout must be from 10 to 600 seconds for v1, not 9"] = { types = { "handset_change" }, ack_timeout = 9 },
      ["ack_timeout must be from 10 to 600 seconds for v1, not 601"] = { types = { "SMS_EVENT", "country_change" },
        ack_timeout = 601 },
      ["cannot start at last_received"] = { types = { "handset_change" }, start = "last_received" },
      ["cannot start at ago"] = { types = { "SMS_EVENT", "handset_change" }, start = { ago = 5 } },
      ['unknown value "oldst".*oldest'] = { types = { "SMS_EVENT" }, start = "oldst" },
      ["one of sequence, timestamp and ago"] = { types = { "SMS_EVENT" }, start = { sequence = 1, ago = 1 } },
      ["start.sequence must be an integer"] = { types = { "SMS_EVENT" }, start = { sequence = 1.5 } },
      ["start_at_timestamp"] = { types = { "SMS_EVENT" }, start = { timestamp = "yesterday" } },
      ["queue_name is an option of v0"] = { types = { "handset_change" }, queue_name = "x" },
      ['unknown value "automatic"'] = { types = { "SMS_EVENT" }, ack = "automatic" },
      ["max_attempts"] = { types = { "SMS_EVENT" }, reconnect = { max_attempts = 0 } },
    } do
      local ok, err = pcall(function() client:events(options) end)
      assert.is_false(ok, pattern)
      assert.matches(pattern, err)
      assert.matches("events_spec.lua:%d+: ", err)
    end
    assert.same({}, api.calls)
  end)

  describe("an event", function()
    it("of v0 has the fields of its message, and those of every event", function()
      feeds.send(api, SUBSCRIBE, { feeds.sms(5) })
      local sub <close> = client:events{ types = { "SMS_EVENT" } }
      local event = assert(sub:next(10))
      assert.equal("SMS_EVENT", event.type)
      assert.equal("v0", event.api)
      assert.equal("text 5", event.sms_event.text)
      assert.equal("text 5", event.payload.text)
      assert.equal(1700000000.5, event.timestamp)
      assert.equal("+4799990001", event.number)
      assert.is_false(event.is_redelivered)
      assert.equal(5, event.sequence)
      assert.equal("inbox", event.metadata.ack_inbox)
      assert.equal("wgtwo.events.v0.Event", wgtwo.message.typename(event.message))
      assert.is_nil(event.voice_event)
      assert.error_matches(function() return event.sms_evnt end, "sms_event")
      assert.equal("wgtwo.event(SMS_EVENT)", tostring(event))
    end)

    it("of v0 finds its subscriber where it has no owner", function()
      local function number(payload)
        feeds.send(api, SUBSCRIBE, { { event = payload } })
        local sub <close> = client:events{ types = { "SMS_EVENT" } }
        return assert(sub:next(10)).number
      end
      local phone, other = { e164 = "4799990001" }, { e164 = "+4799990002" }
      local function sms(direction)
        return { sms_event = { direction = direction, from_e164 = phone, to_e164 = other } }
      end
      assert.equal("+4799990001", number(sms("FROM_SUBSCRIBER")))
      assert.equal("+4799990002", number(sms("TO_SUBSCRIBER")))
      assert.equal("+4799990001", number{ country_change_event = { msisdn = phone } })
      assert.equal("+4799990001", number{ consent_revoke_event = { msisdn = phone } })
      assert.equal("+4799990001", number{ handset_update_event = { number = phone } })
      assert.is_nil(number{ voice_event = { call_id = "1" } })
      assert.is_nil(number{})
    end)

    it("of v1 has the fields of its message, and those of every event", function()
      feeds.send(api, HANDSETS, { feeds.handset(7, { is_redelivered = true }) })
      local sub <close> = client:events{ types = { "handset_change" } }
      local event = assert(sub:next(10))
      assert.equal("handset_change", event.type)
      assert.equal("v1", event.api)
      assert.equal("7", event.handset_change_event.imsi.value)
      assert.equal("7", event.payload.imsi.value)
      assert.equal(1700000001, event.timestamp)
      assert.equal("+4799990002", event.number)
      assert.is_true(event.is_redelivered)
      assert.is_nil(event.sequence)
      assert.equal(1, sub:stats().redelivered)
    end)
  end)

  describe("iteration", function()
    it("goes over several types and both generations, and is closed by its for", function()
      feeds.send(api, SUBSCRIBE, { feeds.sms(1), feeds.sms(2) })
      feeds.send(api, HANDSETS, { feeds.handset(1), feeds.handset(2) })
      local acks = feeds.accept_acks(api)
      local seen, kept = {}, nil
      local sub, second, third, closing = client:events{ types = { "SMS_EVENT", "handset_change" }, queue = "q" }
      assert.is_nil(second)
      assert.is_nil(third)
      assert.equal(sub, closing)
      for event in sub, nil, nil, closing do
        seen[event.type] = (seen[event.type] or 0) + 1
        event:ack()
        kept = event
        if seen.SMS_EVENT == 2 and seen.handset_change == 2 then break end
      end
      assert.same({ SMS_EVENT = 2, handset_change = 2 }, seen)
      assert.equal(4, #acks)
      local stats = sub:stats()
      assert.equal(4, stats.received)
      assert.equal(4, stats.acked)
      assert.equal(0, stats.in_flight)
      assert.is_nil((sub:next()))
      assert.equal(0, client:stats().subscriptions)
      assert.is_true(kept:ack())
    end)

    it("raises the error that ends it", function()
      api:on(SUBSCRIBE, function(call) call:fail(7, "no") end)
      local ok, err = pcall(function()
        for _ in client:events{ types = { "SMS_EVENT" } } do error("no event was sent") end
      end)
      assert.is_false(ok)
      assert.equal("PERMISSION_DENIED", err.code)
      assert.matches("events.sms.subscribe", tostring(err))
    end)

    it("is closed when its body raises", function()
      feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
      assert.error_matches(function()
        for _ in client:events{ types = { "SMS_EVENT" } } do error("handler") end
      end, "handler")
      assert.equal(0, client:stats().subscriptions)
    end)

    it("has a timeout, and goes on after it", function()
      local go = false
      api:on(SUBSCRIBE, function(call)
        while not go do wgtwo.sleep(0.005) end
        call:send(feeds.sms(1))
        call:until_cancelled()
      end)
      local sub <close> = client:events{ types = { "SMS_EVENT" } }
      local event, err = sub:next(0.05)
      assert.is_nil(event)
      assert.equal("timeout", err.kind)
      assert.is_nil((sub:next(0)))
      go = true
      assert.equal("text 1", assert(sub:next(10)).sms_event.text)
    end)

    it("may be shared by coroutines, and ends for all of them when it is closed", function()
      local replies = {}
      for i = 1, 20 do replies[i] = feeds.sms(i) end
      feeds.send(api, SUBSCRIBE, replies)
      local sub, seen, ended = client:events{ types = { "SMS_EVENT" } }, {}, 0
      wgtwo.run(function()
        for _ = 1, 3 do
          wgtwo.spawn(function()
            for event in sub do
              seen[event.sequence] = true
              wgtwo.sleep(0.001)
              if event.sequence == 20 then sub:close() end
            end
            ended = ended + 1
          end)
        end
      end)
      assert.equal(20, #seen)
      assert.equal(3, ended)
    end)

    it("gives other tasks their turn though the stream never empties", function()
      local replies = {}
      for i = 1, 1000 do replies[i] = feeds.sms(i) end
      feeds.send(api, SUBSCRIBE, replies)
      wgtwo.run(function()
        local sub <close>, turns, done = client:events{ types = { "SMS_EVENT" } }, 0, false
        wgtwo.spawn(function()
          while not done do
            turns = turns + 1
            wgtwo.loop.pass()
          end
        end)
        wgtwo.sleep(0.1) -- so that many are there already
        local before = turns
        for _ = 1, 1000 do assert(sub:next(10)) end
        done = true
        assert.is_true(turns - before >= 10)
      end)
    end)
  end)

  describe("ack", function()
    it("= auto acknowledges an event when the next one is asked for", function()
      feeds.send(api, SUBSCRIBE, { feeds.sms(1), feeds.sms(2) })
      local acks = feeds.accept_acks(api)
      local sub = client:events{ types = { "SMS_EVENT" }, queue = "q", ack = "auto" }
      assert(sub:next(10))
      assert.equal(0, sub:stats().in_flight + sub:stats().acked)
      assert(sub:next(10))
      sub:close()
      assert.equal(1, #acks)
      assert.equal(1, acks[1].sequence)
    end)

    it("= none sends none", function()
      feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
      local sub <close> = client:events{ types = { "SMS_EVENT" } }
      assert.is_true(assert(sub:next(10)):ack())
      assert.same({}, api:seen(ACK))
    end)
  end)

  it("asks for a token with the scopes of its types", function()
    local asked = {}
    client:close()
    connect{ auth = { token = function(_, scopes)
      asked[#asked + 1] = scopes
      return { access_token = "x" }
    end } }
    feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
    feeds.send(api, HANDSETS, { feeds.handset(1) })
    local types = { "VOICE_EVENT", "SMS_EVENT", "CONSENT_REVOKE_EVENT", "handset_change" }
    local sub <close> = client:events{ types = types }
    assert(sub:next(10))
    assert(sub:next(10))
    table.sort(asked)
    assert.same({ "events.sms.subscribe events.voice.subscribe", "subscription.handset_details:read" }, asked)
  end)

  it("that are forgotten end when they are collected", function()
    api:on(SUBSCRIBE, function(call)
      call:send(feeds.sms(1))
      call:until_cancelled()
      call.record.cancelled = true
    end)
    assert((client:events{ types = { "SMS_EVENT" } }):next(10))
    api:until_(function()
      collectgarbage()
      return api.calls[1].cancelled
    end, "the end of the stream")
  end)
end)

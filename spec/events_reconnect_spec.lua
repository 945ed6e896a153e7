local Api = require("spec.support.api")
local core = require("wgtwo.core")
local feeds = require("spec.support.feeds")
local patience = require("spec.support.patience")
local wgtwo = require("wgtwo")

local SUBSCRIBE, ACK, HANDSETS = feeds.SUBSCRIBE, feeds.ACK, feeds.HANDSETS

describe("a subscription", function()
  local api, client, log

  local function connect(options)
    local all = { target = api.target, plaintext = true, auth = false, logger = function(level, message, fields)
      log[#log + 1] = { level = level, message = message, fields = fields }
    end }
    for key, value in pairs(options or {}) do all[key] = value end
    client = assert(wgtwo.connect(all))
  end

  before_each(function()
    api, log = Api.start(), {}
    connect()
  end)

  after_each(function()
    client:close()
    api:stop()
  end)

  -- Answers the nth stream by the nth function; the last one for all after.
  local function script(method, streams)
    local count = 0
    api:on(method, function(call)
      count = count + 1
      streams[math.min(count, #streams)](call, count)
    end)
  end

  local function send(...)
    local replies = { ... }
    return function(call)
      for _, reply in ipairs(replies) do call:send(reply) end
      call:until_cancelled()
    end
  end

  local function subscribe(options)
    local all = { types = { "SMS_EVENT" }, queue = "q", ack = "none", reconnect = { initial = 0.01, max = 0.05 } }
    for key, value in pairs(options or {}) do all[key] = value end
    return (client:events(all))
  end

  -- Sends some, then ends with a status.
  local function send_and_end(code, ...)
    local replies = { ... }
    return function(call)
      for _, reply in ipairs(replies) do call:send(reply) end
      if code ~= 0 then call:fail(code, "the end") end
    end
  end

  it("reconnects at once after a clean end", function()
    script(SUBSCRIBE, { send_and_end(0, feeds.sms(1)), send(feeds.sms(2)) })
    local sub <close> = subscribe{ reconnect = { initial = 300, max = 300 } }
    assert.equal(1, assert(sub:next(10)).sequence)
    assert.equal(2, assert(sub:next(10)).sequence)
    assert.equal(1, sub:stats().reconnects)
    assert.equal(2, sub:stats().received)
    assert.equal("info", log[1].level)
    assert.matches("reconnecting at once %(attempt 1%): the server ended the stream", log[1].message)
  end)

  it("does not hammer a server that ends each stream at once", function()
    script(SUBSCRIBE, { function() end, function() end, function() end, function() end, send(feeds.sms(1)) })
    local sub <close> = subscribe{ reconnect = { initial = 0.1, max = 0.2 } }
    assert(sub:next(10))
    assert.matches("at once", log[1].message)
    for i = 2, 4 do
      assert.matches("reconnecting in %d%.%d+ s %(attempt %d%): .*again and again", log[i].message)
      local seen = api:seen(SUBSCRIBE)
      assert.is_true(seen[i + 1].at - seen[i].at >= log[i].fields.delay - 0.02)
    end
  end)

  it("reconnects after an error, as its log says", function()
    script(SUBSCRIBE, { send_and_end(14, feeds.sms(1)), send_and_end(13), send_and_end(2), send(feeds.sms(2)) })
    local sub <close> = subscribe{ reconnect = { initial = 0.05, max = 0.2 } }
    assert.equal(1, assert(sub:next(10)).sequence)
    assert.equal(2, assert(sub:next(10)).sequence)
    assert.equal(3, #log)
    for i, code in ipairs{ "UNAVAILABLE", "INTERNAL", "UNKNOWN" } do
      assert.equal("warn", log[i].level)
      assert.equal(code, log[i].fields.code)
      assert.equal(i, log[i].fields.attempt)
      assert.matches(("reconnecting in %%d%%.%%d+ s %%(attempt %d%%): %s %%(%%d+%%): the end"):format(i, code),
        log[i].message)
      local seen = api:seen(SUBSCRIBE)
      local waited = seen[i + 1].at - seen[i].at
      assert.is_true(waited >= log[i].fields.delay - 0.02, "it waited as long as it said")
    end
    assert.equal(1, sub:stats().reconnects)
  end)

  it("counts as reconnects the streams that were there again, not the attempts", function()
    script(SUBSCRIBE, { send_and_end(14), send_and_end(7 + 1), send(feeds.sms(1)) })
    local sub <close> = subscribe()
    assert.equal(1, assert(sub:next(10)).sequence)
    assert.equal(2, #log)
    assert.equal(0, sub:stats().reconnects) -- it is the first that was there
    api:stop()
    api:until_(function() return sub:next(0.01) == nil and #log >= 6 end, "attempts")
    assert.equal(0, sub:stats().reconnects)
    script(SUBSCRIBE, { function(call) call:until_cancelled() end }) -- it is there, but gives nothing
    api:start_again()
    api:until_(function()
      sub:next(0.01)
      return sub:stats().reconnects > 0
    end, "the stream")
    local counted = sub:stats().reconnects
    api:drop_all()
    api:until_(function()
      sub:next(0.01)
      return sub:stats().reconnects == 2
    end, "the next")
    assert.equal(1, counted)
    sub:close()
    assert.equal(2, sub:stats().reconnects)
  end)

  it("backs off exponentially, with full jitter", function()
    script(SUBSCRIBE, { send_and_end(14) })
    local sub <close> = subscribe{ reconnect = { initial = 0.01, max = 0.04 } }
    api:until_(function()
      assert.is_nil((sub:next(0.05)))
      return #log >= 8
    end, "the eighth attempt")
    local longest = 0
    for i, entry in ipairs(log) do
      local span = math.min(0.04, 0.01 * 2 ^ (i - 1))
      assert.is_true(entry.fields.delay <= span + 1e-9)
      longest = math.max(longest, entry.fields.delay)
    end
    assert.is_true(longest > 0.01)
  end)

  for code, name in pairs{ [7] = "PERMISSION_DENIED", [3] = "INVALID_ARGUMENT", [12] = "UNIMPLEMENTED" } do
    it("ends with " .. name, function()
      script(SUBSCRIBE, { send_and_end(code, feeds.sms(1)) })
      local sub <close> = subscribe()
      assert(sub:next(10))
      local event, err = sub:next(10)
      assert.is_nil(event)
      assert.equal(name, err.code)
      assert.equal(err, select(2, sub:next(10)))
      assert.equal(1, #api:seen(SUBSCRIBE))
      assert.equal("error", log[#log].level)
      assert.matches("the subscription ends", log[#log].message)
    end)
  end

  it("gives up after max_attempts in a row, and counts anew after an event", function()
    script(SUBSCRIBE, { send_and_end(14), send_and_end(14), send_and_end(14, feeds.sms(1)), send_and_end(14) })
    local sub <close> = subscribe{ reconnect = { max_attempts = 2, initial = 0.01, max = 0.02 } }
    assert(sub:next(10))
    local event, err = sub:next(10)
    assert.is_nil(event)
    assert.equal("UNAVAILABLE", err.code)
    assert.equal(5, #api:seen(SUBSCRIBE))
  end)

  it("with reconnect = false ends with the stream: nil, or the error", function()
    script(SUBSCRIBE, { send_and_end(0, feeds.sms(1)), send_and_end(14, feeds.sms(2)) })
    local sub <close> = subscribe{ reconnect = false }
    assert(sub:next(10))
    local event, err = sub:next(10)
    assert.is_nil(event)
    assert.is_nil(err)
    local other <close> = subscribe{ reconnect = false }
    assert(other:next(10))
    event, err = other:next(10)
    assert.is_nil(event)
    assert.equal("UNAVAILABLE", err.code)
    assert.equal(2, #api:seen(SUBSCRIBE))
  end)

  describe("after UNAUTHENTICATED", function()
    local source

    before_each(function()
      client:close()
      source = { count = 0 }
      function source:peek() return self.current end
      function source:invalidate() self.current = nil end
      function source:token()
        if not self.current then
          self.count = self.count + 1
          self.current = { access_token = "t" .. self.count }
        end
        return self.current
      end
      connect{ auth = source }
    end)

    it("renews the token and is back at once", function()
      script(SUBSCRIBE, { send_and_end(16, feeds.sms(1)), send(feeds.sms(2)) })
      local sub <close> = subscribe{ reconnect = { initial = 300, max = 300 } }
      assert(sub:next(10))
      assert(sub:next(10))
      assert.equal("Bearer t2", api:seen(SUBSCRIBE)[2].metadata.authorization)
      assert.matches("reconnecting at once.*new token", log[1].message)
    end)

    it("a second time waits for 10 s or more", function()
      script(SUBSCRIBE, { send_and_end(16) })
      local sub <close> = subscribe{ reconnect = true }
      api:until_(function()
        local event, err = sub:next(0.05)
        assert.is_nil(event)
        assert.equal("timeout", err.kind)
        return log[2]
      end, "the second attempt")
      assert.equal(2, #api:seen(SUBSCRIBE))
      assert.equal(2, source.count)
      assert.is_true(log[2].fields.delay >= 10 and log[2].fields.delay <= 15)
      assert.matches("reconnecting in 1%d%.%d s %(attempt 2%): UNAUTHENTICATED", log[2].message)
    end)
  end)

  it("ends when there will be no token", function()
    client:close()
    local refusal = wgtwo.error.new{ kind = "oauth", code = "invalid_client", message = "unknown client" }
    connect{ auth = { token = function() return nil, refusal end } }
    local sub <close> = subscribe()
    local event, err = sub:next(10)
    assert.is_nil(event)
    assert.equal(refusal, err)
  end)

  it("tries again when the token's server has a passing fault", function()
    client:close()
    local count = 0
    connect{ auth = { token = function()
      count = count + 1
      if count < 3 then
        return nil, wgtwo.error.new{ kind = "oauth", code = "unreachable", message = "refused", retryable = true }
      end
      return { access_token = "t" }
    end } }
    script(SUBSCRIBE, { send(feeds.sms(1)) })
    local sub <close> = subscribe()
    assert(sub:next(10))
    assert.matches("reconnecting in .*unreachable: refused", log[1].message)
  end)

  it("comes back when the server does, however long that was gone", function()
    script(SUBSCRIBE, { send(feeds.sms(1)), send(feeds.sms(2)) })
    local sub <close> = subscribe()
    assert.equal(1, assert(sub:next(10)).sequence)
    api:stop()
    assert.equal("timeout", select(2, sub:next(3)).kind) -- gRPC's own backoff would be 2 s by now
    local tried = #log
    api:start_again()
    assert.equal(2, assert(sub:next(10)).sequence)
    assert.is_true(#log <= tried + 2, "it tried again and again") -- one may have been under way
    assert.is_truthy(log[2].fields.code == "UNAVAILABLE")
  end)

  it("tells at once that nobody listens", function()
    client:close()
    connect{ connect_timeout = 300 }
    api:stop()
    local started = core.now()
    local sub <close> = subscribe{ reconnect = false }
    local event, err = sub:next(10)
    assert.is_nil(event)
    assert.equal("UNAVAILABLE", err.code)
    assert.is_true(core.now() - started < patience.soon)
  end)

  it("that is regular goes on behind the last event", function()
    script(SUBSCRIBE, { send_and_end(0, feeds.sms(7), feeds.sms(8)), send(feeds.sms(9)) })
    script(HANDSETS, { send_and_end(0, feeds.handset(1)), send(feeds.handset(2)) })
    local sub <close> = client:events{ types = { "SMS_EVENT", "handset_change" }, start = "oldest" }
    for _ = 1, 5 do assert(sub:next(10)) end
    local v0, v1 = api:seen(SUBSCRIBE), api:seen(HANDSETS)
    assert.equal("start_at_oldest_possible", wgtwo.message.which(v0[1].request, "start_position"))
    assert.equal(9, v0[2].request.start_at_sequence)
    local again = v1[2].request.stream_configuration
    assert.equal(1700000001, again.start_at_timestamp.seconds)
    assert.equal(1, again.start_at_timestamp.nanos)
  end)

  it("with a queue asks for the same start again: the server holds the position", function()
    script(SUBSCRIBE, { send_and_end(0, feeds.sms(7)), send(feeds.sms(8)) })
    local sub <close> = subscribe{ start = "oldest" }
    for _ = 1, 2 do assert(sub:next(10)) end
    local seen = api:seen(SUBSCRIBE)
    assert.same(wgtwo.message.totable(seen[1].request), wgtwo.message.totable(seen[2].request))
  end)

  it("acknowledges events of the stream before, and does not repeat that for ever", function()
    script(SUBSCRIBE, { send_and_end(0, feeds.sms(1), feeds.sms(2)), send(feeds.sms(3)) })
    local answered = 0
    api:on(ACK, function(call)
      answered = answered + 1
      if call.record.request.sequence == 1 then call:fail(2, "unknown inbox") else call:reply{} end
    end)
    local sub <close> = subscribe{ ack = "manual" }
    local first, second = assert(sub:next(10)), assert(sub:next(10))
    assert.equal(3, assert(sub:next(10)).sequence)
    local ok, err = first:ack{ wait = true }
    assert.is_nil(ok)
    assert.equal("UNKNOWN", err.code)
    assert.is_true(second:ack{ wait = true })
    assert.equal(2, answered)
    local stats = sub:stats()
    assert.equal(1, stats.ack_failed)
    assert.equal(1, stats.acked)
    assert.equal(0, stats.ack_retries)
    assert.matches("an acknowledgement failed", log[#log].message)
  end)

  it("survives a reply that cannot be read", function()
    script(SUBSCRIBE, { function(call)
      call:send("\255\255\255")
      call:until_cancelled()
    end, send(feeds.sms(1)) })
    local sub <close> = subscribe()
    assert.equal(1, assert(sub:next(10)).sequence)
    assert.matches("cannot be read", log[1].message)
  end)

  it("is closed while it waits to reconnect", function()
    script(SUBSCRIBE, { send_and_end(14) })
    local sub = subscribe{ reconnect = { initial = 20, max = 30 } }
    wgtwo.run(function()
      local reader = wgtwo.spawn(function() return sub:next() end)
      api:until_(function() return #log == 1 end)
      sub:close()
      assert.is_nil((reader:join()))
    end)
  end)

  it("that is forgotten while it waits to reconnect is collected", function()
    script(SUBSCRIBE, { send_and_end(14) })
    local weak = setmetatable({}, { __mode = "k" })
    do
      local sub = subscribe{ reconnect = { initial = 0.2, max = 0.4 } }
      weak[sub] = true
      sub:next(0.1)
    end
    api:until_(function()
      collectgarbage()
      return not next(weak)
    end, "collection")
  end)

  it("that a finalizer closes, after that of its own call, is closed without a complaint", function()
    script(SUBSCRIBE, { function(call) call:until_cancelled() end })
    local closed, problem
    coroutine.wrap(function() -- no stale slot of the stack holds the call
      local owner = setmetatable({}, { __gc = function(self) closed, problem = pcall(self.sub.close, self.sub) end })
      owner.sub = subscribe() -- younger, so it is finalized before
    end)()
    api:until_(function()
      collectgarbage()
      return closed ~= nil
    end, "collection")
    assert.is_true(closed, problem)
  end)

  it("does not fail for a logger that does", function()
    client:close()
    connect{ logger = function() error("broken") end }
    local stderr = io.stderr
    local written = {}
    io.stderr = { write = function(_, ...) written[#written + 1] = table.concat{ ... } end } -- luacheck: ignore
    script(SUBSCRIBE, { send_and_end(0, feeds.sms(1)), send(feeds.sms(2)) })
    local sub = subscribe()
    local first, second = sub:next(10), sub:next(10)
    sub:close()
    io.stderr = stderr -- luacheck: ignore
    assert.is_truthy(first and second)
    assert.matches("logger failed.*broken", table.concat(written))
  end)
end)

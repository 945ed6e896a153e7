-- Keep-alive: a wire that swallows every byte is noticed although nothing else happens on it.

local api = require("spec.support.api")
local core = require("wgtwo.core")
local feeds = require("spec.support.feeds")
local patience = require("spec.support.patience")
local wgtwo = require("wgtwo")

describe("keep-alive", function()
  local service, forwarder, client, log

  local function connect(keepalive)
    client = assert(wgtwo.connect({ target = "127.0.0.1:" .. forwarder:port(), plaintext = true, auth = false,
      keepalive = keepalive, logger = function(_, message) log[#log + 1] = message end }))
  end

  before_each(function()
    log = {}
    service = api.start()
    forwarder = assert(core.forwarder({ target = service.target }))
  end)

  after_each(function()
    client:close()
    forwarder:close()
    service:stop()
  end)

  -- Streams that open at once and then say nothing.
  local function silent_streams()
    local opened = 0
    service:on(feeds.SUBSCRIBE, function(call)
      opened = opened + 1
      call:send(feeds.sms(opened))
      call:until_cancelled()
    end)
    return function() return opened end
  end

  it("notices that every byte vanishes, and the subscription resumes when the wire is back", function()
    local opened, before = silent_streams(), core.now()
    connect({ time = 1, timeout = 1 })
    local sub <close> = client:events({ types = { "SMS_EVENT" }, reconnect = { initial = 0.01, max = 0.1 } })
    assert.equal(1, assert(sub:next(10)).sequence)
    forwarder:set({ drop = true })
    while not log[1] do
      assert.is_true(core.now() - before < patience.limit, "not noticed")
      assert.is_nil((sub:next(0.1)))
    end
    assert.is_true(core.now() - before > 0.9)
    assert.matches("reconnecting", log[1])
    assert.equal(0, sub:stats().reconnects)
    assert.equal(1, opened())
    forwarder:clear()
    local event
    repeat event = sub:next(1) until event or core.now() - before > 2 * patience.limit
    assert.equal(2, event.sequence)
    assert.equal(1, sub:stats().reconnects)
  end)

  it("notices it in one direction, too", function()
    for _, direction in ipairs({ "up", "down" }) do
      silent_streams()
      connect({ time = 1, timeout = 1 })
      local sub <close> = client:events({ types = { "SMS_EVENT" }, reconnect = false })
      assert(sub:next(10))
      forwarder:set({ drop = direction })
      local event, err = sub:next(10)
      assert.is_nil(event)
      assert.equal("UNAVAILABLE", err.code, direction)
      forwarder:clear()
      client:close()
    end
  end)

  it("ends a stream and a call that wait for an answer", function()
    service:on("NumberLookupService/NumberLookup", function(call) call:until_cancelled() end)
    service:on("sms.v1.SmsService/SendTextToSubscriber", function(call)
      forwarder:set({ drop = true })
      call:until_cancelled()
    end)
    connect({ time = 1, timeout = 1 })
    local stream <close> = assert(client:stream("NumberLookupService/NumberLookup"))
    local reply, err = client:call("sms.v1.SmsService/SendTextToSubscriber", {}, { timeout = 20 })
    assert.is_nil(reply)
    assert.equal("UNAVAILABLE", err.code)
    local none
    none, err = stream:read(10)
    assert.is_nil(none)
    assert.equal("UNAVAILABLE", err.code)
  end)

  it("keeps an idle stream: pings go on after the first two, and are answered", function()
    local opened = silent_streams()
    connect({ time = 0.3, timeout = 1 })
    local sub <close> = client:events({ types = { "SMS_EVENT" } })
    assert(sub:next(10))
    local last = forwarder:stats()
    for _ = 1, 5 do -- a ping and its answer each
      local now
      service:until_(function()
        now = forwarder:stats()
        return now.up > last.up and now.down > last.down
      end, "a ping")
      last = now
    end
    assert.equal(1, opened())
    assert.equal(0, sub:stats().reconnects)
  end)

  it("that is off notices nothing", function()
    silent_streams()
    connect(false)
    local sub <close> = client:events({ types = { "SMS_EVENT" }, reconnect = false })
    assert(sub:next(10))
    forwarder:set({ drop = true })
    local event, err = sub:next(1.5)
    assert.is_nil(event)
    assert.equal("timeout", err.kind)
  end)
end)

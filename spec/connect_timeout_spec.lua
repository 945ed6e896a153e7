-- The connect timeout: a peer that accepts and stays silent.

local api = require("spec.support.api")
local core = require("wgtwo.core")
local loop = require("wgtwo.loop")
local wgtwo = require("wgtwo")

local SEND = "sms.v1.SmsService/SendTextToSubscriber"
local TIMEOUT, SLACK = 0.5, 3 -- seconds; what else a busy machine takes

describe("connect timeout", function()
  local service, forwarder, client

  local function connect(options)
    local all = { target = "127.0.0.1:" .. forwarder:port(), plaintext = true, auth = false, logger = false,
      connect_timeout = TIMEOUT }
    for key, value in pairs(options or {}) do all[key] = value end
    client = assert(wgtwo.connect(all))
  end

  -- Runs f; its seconds are at most those of the connect timeout, and its results come back.
  local function in_time(f)
    local before = core.now()
    local result, err = f()
    local seconds = core.now() - before
    assert.is_true(seconds < TIMEOUT + SLACK, ("took %.2f s"):format(seconds))
    return result, err
  end

  before_each(function()
    service = api.start()
    service:on(SEND, function(call) call:reply({ message_id = "1" }) end)
    forwarder = assert(core.forwarder({ target = service.target }))
  end)

  after_each(function()
    client:close()
    forwarder:close()
    service:stop()
  end)

  for name, fault in pairs({ ["that accepts and never reads"] = { half_open = true },
    ["that reads and never answers"] = { drop = true } }) do
    it("of a call to a peer " .. name, function()
      forwarder:set(fault)
      connect({ timeout = 30 })
      local reply, err = in_time(function() return client:call(SEND, {}) end)
      assert.is_nil(reply)
      assert.equal("UNAVAILABLE", err.code)
      assert.is_true(err.retryable)
    end)

    it("of a stream to a peer " .. name, function()
      forwarder:set(fault)
      connect()
      local stream <close> = assert(client:stream("NumberLookupService/NumberLookup"))
      local message, err = in_time(function() return stream:read(30) end)
      assert.is_nil(message)
      assert.equal("UNAVAILABLE", err.code)
    end)

    it("of a subscription to a peer " .. name, function()
      forwarder:set(fault)
      connect()
      local sub <close> = client:events({ types = { "SMS_EVENT" }, reconnect = false })
      local event, err = in_time(function() return sub:next(30) end)
      assert.is_nil(event)
      assert.equal("UNAVAILABLE", err.code)
    end)

    it("of a TLS handshake with a peer " .. name, function()
      forwarder:set(fault)
      connect({ plaintext = false, timeout = 30, tls = { insecure_skip_verify = true } })
      local reply, err = in_time(function() return client:call(SEND, {}) end)
      assert.is_nil(reply)
      assert.equal("UNAVAILABLE", err.code)
    end)
  end

  it("does not end a call that may wait: it goes through when the peer speaks again", function()
    forwarder:set({ drop = true })
    connect({ timeout = 60, connect_timeout = 1 })
    local result
    wgtwo.run(function()
      local task = wgtwo.spawn(function() return client:call(SEND, {}, { wait_for_ready = true }) end)
      service:until_(function() return forwarder:stats().accepted >= 2 end, "a second attempt to connect")
      forwarder:reset() -- a connection that has lost its first bytes would never be one
      forwarder:clear() -- after it: one that has lost nothing yet would carry the call, and be reset under it
      result = assert(task:join())
    end)
    assert.equal("1", result.message_id)
  end)

  it("holds nobody up: other tasks run meanwhile, and a shorter timeout of a call counts", function()
    forwarder:set({ half_open = true })
    connect({ connect_timeout = 30 })
    local before, ticks = core.now(), 0
    local reply, err
    wgtwo.run(function()
      local ticking = wgtwo.spawn(function()
        while true do
          loop.sleep(0.01)
          ticks = ticks + 1
        end
      end)
      reply, err = client:call(SEND, {}, { timeout = 0.3 })
      ticking:cancel()
    end)
    assert.is_nil(reply)
    assert.equal("DEADLINE_EXCEEDED", err.code)
    assert.is_true(ticks >= 5)
    assert.is_true(core.now() - before < 0.3 + SLACK)
  end)
end)

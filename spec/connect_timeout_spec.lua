-- The connect timeout: a peer that accepts and stays silent.

local api = require("spec.support.api")
local core = require("wgtwo.core")
local patience = require("spec.support.patience")
local wgtwo = require("wgtwo")

local SEND = "sms.v1.SmsService/SendTextToSubscriber"
local TIMEOUT = 0.5 -- seconds; gRPC's own is 20

describe("connect timeout", function()
  local service, forwarder, client

  local function connect(options)
    local all = { target = "127.0.0.1:" .. forwarder:port(), plaintext = true, auth = false, logger = false,
      connect_timeout = TIMEOUT }
    for key, value in pairs(options or {}) do all[key] = value end
    client = assert(wgtwo.connect(all))
  end

  -- Runs f, which is not to wait for any other timeout; its results come back.
  local function in_time(f)
    local before = core.now()
    local result, err = f()
    local seconds = core.now() - before
    assert.is_true(seconds < patience.soon, ("took %.2f s"):format(seconds))
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
      connect({ timeout = 300 })
      local reply, err = in_time(function() return client:call(SEND, {}) end)
      assert.is_nil(reply)
      assert.equal("UNAVAILABLE", err.code)
      assert.is_true(err.retryable)
    end)

    it("of a stream to a peer " .. name, function()
      forwarder:set(fault)
      connect()
      local stream <close> = assert(client:stream("NumberLookupService/NumberLookup"))
      local message, err = in_time(function() return stream:read(300) end)
      assert.is_nil(message)
      assert.equal("UNAVAILABLE", err.code)
    end)

    it("of a subscription to a peer " .. name, function()
      forwarder:set(fault)
      connect()
      local sub <close> = client:events({ types = { "SMS_EVENT" }, reconnect = false })
      local event, err = in_time(function() return sub:next(300) end)
      assert.is_nil(event)
      assert.equal("UNAVAILABLE", err.code)
    end)

    it("of a TLS handshake with a peer " .. name, function()
      forwarder:set(fault)
      connect({ plaintext = false, timeout = 300, tls = { insecure_skip_verify = true } })
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

  it("does not count where a call's own timeout is shorter", function()
    forwarder:set({ half_open = true })
    connect({ connect_timeout = 300, timeout = 300 })
    local reply, err = in_time(function() return client:call(SEND, {}, { timeout = 0.1 }) end)
    assert.is_nil(reply)
    assert.equal("DEADLINE_EXCEEDED", err.code)
  end)

  it("holds nobody up: other tasks run meanwhile", function()
    forwarder:set({ half_open = true })
    connect({ connect_timeout = 300, timeout = 300 })
    wgtwo.run(function()
      local calling = wgtwo.spawn(client.call, client, SEND, {})
      for _ = 1, 5 do assert.equal("timeout", select(2, calling:join(0.01)).kind) end
      calling:cancel()
    end)
  end)
end)

-- Faults of the wire: what each does to gRPC and to OAuth, and that the admin API is out of their reach.

local core = require("wgtwo.core")
local limits = require("wgtwo.limits")
local support = require("spec.support.sandbox")
local tcp = require("spec.support.tcp")
local wgtwo = require("wgtwo")

local open, http = support.open, support.http

local METHOD <const> = "wgtwo.subscription.v0.SubscriptionIdService/GetMsisdn"
local SUBSCRIBE <const> = "wgtwo.events.v0.EventsService/Subscribe"
local PREFACE <const> = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" .. "\0\0\0\4\0\0\0\0\0" -- and empty SETTINGS

describe("sandbox wire faults:", function()
  local sandbox

  setup(function() sandbox = support.start{ clock = "virtual", wire = true } end)
  teardown(function() sandbox:close() end)
  before_each(function() assert(sandbox:reset()) end)
  after_each(function() assert(sandbox:clear_wire()) end)

  local function stats(name) return http{ url = sandbox.url .. "/admin/wire" }.json[name] end

  local function port(address) return math.tointeger(tonumber(address:match("%d+$"))) end

  --- A client of its own, with a connection of its own.
  local function fresh(options)
    local all = sandbox:client(false)
    for name, value in pairs(options or {}) do all[name] = value end
    return assert(wgtwo.connect(all))
  end

  local function subscribe(client) return open(sandbox, client, SUBSCRIBE, { type = { "SMS_EVENT" } }) end

  local function call(client, timeout)
    local _, err = client:call(METHOD, { subscription_id = { value = "s" } }, { timeout = timeout })
    return err and err.code or "OK"
  end

  describe("gRPC:", function()
    --- Ends all connections: streams on both ports, and a plain connection to the one with TLS, where nothing comes
    -- before the client has spoken. Returns what the latter got.
    local function end_all(how)
      local tls <close> = fresh()
      local address = sandbox.plaintext_target
      local plaintext <close> = assert(wgtwo.connect{ target = address, plaintext = true, auth = false })
      local streams = { subscribe(tls), subscribe(plaintext) }
      local peer = assert(tcp.connect(port(sandbox.target)))
      sandbox:wire{ [how] = true }
      for _, stream in ipairs(streams) do
        assert.equal("UNAVAILABLE", (support.ending(stream)))
        stream:close()
      end
      peer:await_end()
      peer:close()
      return peer.failure or "ended"
    end

    it("refused connects", function()
      sandbox:wire{ refuse = true }
      local by <close> = fresh()
      assert.equal("UNAVAILABLE", call(by))
      for _, address in ipairs{ sandbox.target, sandbox.plaintext_target } do
        assert.same({ nil, "ECONNREFUSED" }, { tcp.connect(port(address)) })
      end
      sandbox:wire{ refuse = false }
      local again <close> = fresh()
      assert.equal("OK", call(again))
    end)

    it("silent drop, noticed by keep-alive", function()
      local by <close> = fresh{ keepalive = { time = 0.1, timeout = 0.2 } }
      local stream <close> = subscribe(by)
      sandbox:wire{ drop = true }
      assert.equal("UNAVAILABLE", (support.ending(stream)))
      assert.is_true(stats("tls").dropped > 0)
    end)

    it("silent drop one way: the call does not come, or its answer does not", function()
      for way, calls in pairs{ up = 0, down = 1 } do
        local by <close> = fresh()
        assert.equal("OK", call(by))
        sandbox:reset()
        sandbox:wire{ drop = way }
        assert.equal("DEADLINE_EXCEEDED", call(by, 0.5))
        assert.equal(calls, #sandbox:journal{ method = "GetMsisdn" })
        sandbox:clear_wire()
      end
    end)

    it("reset of what is open", function() assert.equal("ECONNRESET", end_all("reset")) end)

    it("close of what is open", function() assert.equal("ended", end_all("close")) end)

    it("half-open: connections are accepted and nothing is read", function()
      sandbox:wire{ half_open = true }
      local before = stats("tls")
      local by <close> = fresh{ connect_timeout = 0.3 }
      assert.not_equal("OK", call(by, 0.5))
      local after = stats("tls")
      assert.is_true(after.accepted > before.accepted)
      assert.equal(before.up, after.up)
    end)

    it("delay of every byte, both ways", function()
      sandbox:wire{ delay = 0.1 }
      local by <close> = fresh()
      local before = core.now()
      assert.equal("OK", call(by))
      assert.is_true(core.now() - before >= 0.4) -- TLS and the call: four ways
    end)

    it("little bandwidth", function()
      local by <close> = fresh()
      local stream <close> = subscribe(by)
      sandbox:wire{ bandwidth = 100000 }
      local before = core.now()
      sandbox:publish{ type = "SMS_EVENT", payload = { text = ("x"):rep(40000) } }
      support.read(stream)
      assert.is_true(core.now() - before >= 0.35)
    end)

    it("cut in the middle of a frame", function()
      local by <close> = fresh()
      local stream <close> = subscribe(by)
      sandbox:wire{ cut_after = 40 }
      sandbox:publish{ type = "SMS_EVENT", payload = { text = ("x"):rep(1000) } }
      local message, err = stream:read(10)
      assert.is_nil(message)
      assert.equal("UNAVAILABLE", err.code)
      sandbox:wire{ cut_after = 20 }
      local peer = assert(tcp.connect(port(sandbox.plaintext_target)))
      peer:send(PREFACE)
      peer:await_end()
      assert.equal(20, peer:count()) -- of the server's SETTINGS
      peer:close()
    end)

    it("leave OAuth alone where nothing else is said", function()
      sandbox:wire{ drop = true, refuse = true }
      assert(sandbox:client().auth:token({}))
    end)
  end)

  describe("OAuth:", function()
    local backoff, attempts = limits.oauth.backoff, limits.oauth.backoff.attempts

    before_each(function() backoff.attempts = 1 end)
    after_each(function() backoff.attempts = attempts end)

    --- The error of a token request on a connection of its own; `act` comes when the request is under way.
    local function failure(fault, timeout, act)
      fault.where = "http"
      sandbox:wire{ where = "http", close = true } -- so that no connection from before is used again
      sandbox:wire(fault)
      local source = wgtwo.oauth.client_credentials{ client_id = "id", client_secret = "secret",
        token_url = sandbox.oauth_url .. "/oauth2/token", timeout = timeout }
      local task = wgtwo.spawn(function() return source:token({}) end)
      if act then act() end
      local token, err = task:join(10)
      assert.is_nil(token)
      assert.same({ "oauth", "unreachable", true }, { err.kind, err.code, err.retryable })
      return err.message
    end

    it("has a port of its own, which everything but the admin API is named with", function()
      assert.not_equal(sandbox.url, sandbox.oauth_url)
      local described = http{ url = sandbox.url .. "/" }.json
      assert.equal(sandbox.oauth_url, described.oauth_url)
      assert.equal(sandbox.oauth_url .. "/oauth2/token", described.token_url)
      local document = http{ url = sandbox.url .. "/.well-known/openid-configuration" }.json
      assert.equal(sandbox.url, document.issuer)
      for _, name in ipairs{ "authorization", "token", "revocation", "userinfo", "end_session" } do
        assert.equal(sandbox.oauth_url, document[name .. "_endpoint"]:sub(1, #sandbox.oauth_url))
      end
      local without <close> = support.start{}
      assert.equal(without.url, without.oauth_url)
    end)

    it("every fault is told by the client, as an error that may pass", function()
      assert.matches("Connection refused", failure({ refuse = true }, 10), 1, true)
      assert.matches("timed out", failure({ drop = true, refuse = false }, 0.2), 1, true)
      assert.matches("timed out", failure({ half_open = true, drop = false }, 0.2), 1, true)
      assert.matches("timed out", failure({ delay = 60, half_open = false }, 0.2), 1, true)
      assert.matches("timed out", failure({ bandwidth = 200, delay = false }, 0.2), 1, true)
      assert.matches("transfer closed with %d+ bytes remaining", failure({ cut_after = 200, bandwidth = false }, 10))
      sandbox:clear_wire()
      assert(sandbox:client().auth:token({}))
    end)

    for how, told in pairs{ reset = "reset", close = "Empty reply" } do
      it(how .. " of a request that waits", function()
        sandbox:fault{ endpoint = "token", hang = true }
        assert.matches(told, failure({}, 10, function()
          support.until_(function() return #sandbox:journal{ method = "/oauth2/token" } > 0 end, "the request")
          sandbox:wire{ where = "http", [how] = true }
        end), 1, true)
      end)
    end

    it("none reaches gRPC or the admin API", function()
      sandbox:wire{ where = "http", drop = true, refuse = true }
      local by <close> = fresh()
      assert.equal("OK", call(by))
      assert.equal(1, #sandbox:journal())
    end)
  end)

  it("everywhere at once, and the admin API takes it back", function()
    sandbox:wire{ where = "all", refuse = true }
    for _, address in ipairs{ sandbox.target, sandbox.plaintext_target, sandbox.oauth_url } do
      assert.same({ nil, "ECONNREFUSED" }, { tcp.connect(port(address)) })
    end
    sandbox:clear_wire()
    for _, address in ipairs{ sandbox.target, sandbox.plaintext_target, sandbox.oauth_url } do
      assert(tcp.connect(port(address))):close()
    end
  end)

  it("a value of the wrong type ended all connections, or was taken", function()
    local client <close> = fresh()
    local _ <close> = subscribe(client)
    for text, fault in pairs{
      ['sandbox:wire: reset must be a boolean, not "no"'] = { reset = "no" },
      ["sandbox:wire: close must be a boolean, not 0"] = { close = 0 },
      ['sandbox:wire: delay must be a finite number or false, not "1"'] = { delay = "1" },
      ["sandbox:wire: bandwidth must be at least 0 bytes a second, not -1"] = { bandwidth = -1 },
      ['sandbox:wire: drop: unknown value "left"'] = { drop = "left" },
      ["sandbox:wire: refuse must be a boolean, not 1"] = { refuse = 1 },
      ['sandbox:wire: where: unknown value "here"'] = { where = "here", drop = true },
    } do
      assert.error_matches(function() sandbox:wire(fault) end, text, 1, true)
    end
    assert.equal(1, #sandbox:streams())
    assert.equal("OK", call(client))
  end)

  it("need the forwarders, and know their settings", function()
    assert.has_error(function() sandbox:wire{ drip = true } end)
    assert.has_error(function() sandbox:wire{ where = "here", drop = true } end)
    assert.has_error(function() sandbox:wire{} end)
    local without <close> = support.start{}
    local nothing, err = without:wire{ drop = true }
    assert.is_nil(nothing)
    assert.equal(409, err.http_status)
  end)
end)

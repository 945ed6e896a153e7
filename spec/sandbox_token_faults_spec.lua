-- Faults of the token endpoint, and what the rock's own client makes of them where that is a matter of its own.

local core = require("wgtwo.core")
local limits = require("wgtwo.limits")
local support = require("spec.support.sandbox")
local tcp = require("spec.support.tcp")
local wgtwo = require("wgtwo")

local post = support.post

describe("sandbox token faults:", function()
  local sandbox

  setup(function()
    sandbox = support.start{ clock = "virtual", seed = 3, clients = {
      { id = "id", secret = "secret" }, { id = "other", secret = "secret2" },
    } }
  end)

  teardown(function() sandbox:close() end)

  before_each(function() assert(sandbox:reset()) end)

  local function token(timeout)
    return post(sandbox, "/oauth2/token", { grant_type = "client_credentials" },
      { username = "id", password = "secret", timeout = timeout or 5 })
  end

  local function fault(fields)
    fields.endpoint = "token"
    assert(sandbox:fault(fields))
  end

  --- A token as the rock fetches it, with so many attempts.
  local function fetch(attempts)
    local policy = limits.oauth.backoff
    local initial, usual = policy.initial, policy.attempts
    policy.initial, policy.attempts = 0.01, attempts
    local result, err = sandbox:client().auth:token({})
    policy.initial, policy.attempts = initial, usual
    return result, err
  end

  it("any error, with any status", function()
    for error, status in pairs{ temporarily_unavailable = 503, invalid_client = 401, slow_down = 429,
        of_nobody = 599 } do
      fault{ status = status, error = error, count = 1 }
      local response = token()
      assert.same({ status, error }, { response.status, response.json.error })
      assert.equal(200, token().status)
    end
  end)

  it("an error alone is 400, a status alone says server_error", function()
    fault{ error = "invalid_scope", count = 1 }
    local response = token()
    assert.same({ 400, "invalid_scope" }, { response.status, response.json.error })
    fault{ status = 500, count = 1 }
    response = token()
    assert.same({ 500, "server_error" }, { response.status, response.json.error })
  end)

  it("an HTML body", function()
    fault{ status = 502, body = "<html>bad gateway</html>", content_type = "text/html", count = 1 }
    local response = token()
    assert.equal("text/html", response.headers["content-type"])
    assert.equal("<html>bad gateway</html>", response.body)
  end)

  describe("a cut body", function()
    it("the whole length is announced, and the connection ends after fewer bytes", function()
      fault{ cut = 20, count = 1 }
      local peer = assert(tcp.connect(math.tointeger(tonumber(sandbox.url:match("%d+$")))))
      peer:send("POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic aWQ6c2VjcmV0\r\n"
        .. "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 29\r\n\r\n"
        .. "grant_type=client_credentials")
      peer:await_end()
      local head, body = peer:text():match("^(HTTP/1.1 200 .-\r\n)\r\n(.*)$")
      assert.equal(#token().body, tonumber(head:match("Content%-Length: (%d+)")))
      assert.equal('{"access_token":"san', body)
      peer:close()
    end)

    it("is an error that may pass, and the next attempt is made", function()
      fault{ cut = 20 }
      local nothing, err = fetch(2)
      assert.is_nil(nothing)
      assert.same({ "oauth", "unreachable", true, 2 }, { err.kind, err.code, err.retryable, err.attempts })
      assert.matches("transfer closed with %d+ bytes remaining to read", err.message)
      sandbox:clear_faults()
      fault{ cut = 20, count = 1 }
      assert.is_string(assert(fetch(2)).access_token)
    end)

    it("also one that comes late, or is an error's", function()
      fault{ cut = 5, delay = 60, status = 503, count = 1 }
      local task = wgtwo.spawn(function() return pcall(token) end)
      support.until_(function() return #sandbox:journal{ method = "/oauth2/token" } > 0 end, "the request")
      sandbox:advance(61)
      local ok, reason = task:join(5)
      assert.is_false(ok)
      assert.matches("transfer closed", reason, 1, true)
    end)
  end)

  it("a wrong type", function()
    fault{ content_type = "text/plain", count = 1 }
    assert.equal("text/plain", token().headers["content-type"])
    assert.matches("^application/json", token().headers["content-type"])
  end)

  it("odd expires_in", function()
    for _, odd in ipairs{ -1, 0, "soon", 1e300, false, core.null } do
      fault{ expires_in = odd, count = 1 }
      assert.equal(odd, token().json.expires_in)
    end
    assert.equal(3599, token().json.expires_in)
  end)

  it("what cannot be sent is refused; token requests went unanswered, and virtual time stopped", function()
    for _, fields in ipairs{ { status = 101 }, { content_type = "a\r\nb" }, { cut = 1 << 40 }, { delay = 1e300 },
        { delay = { 0, 1e300 } } } do
      assert.has_error(function() fault(fields) end)
    end
    assert.equal(200, token().status)
  end)

  it("slow", function()
    fault{ delay = 60, count = 1 }
    local task = wgtwo.spawn(function() return token(10).status end)
    support.until_(function() return #sandbox:journal{ method = "/oauth2/token" } > 0 end, "the request")
    sandbox:advance(59)
    assert.equal("timeout", select(2, task:join(0.05)).kind)
    sandbox:advance(2)
    assert.equal(200, task:join(5))
  end)

  it("no answer", function()
    fault{ hang = true, count = 1 }
    assert.has_error(function() token(0.2) end)
    assert.equal(200, token().status)
  end)

  it("for one client", function()
    fault{ client = "other", status = 500 }
    assert.equal(200, token().status)
    local response = post(sandbox, "/oauth2/token", { grant_type = "client_credentials" },
      { username = "other", password = "secret2" })
    assert.equal(500, response.status)
  end)

  it("of the nth request, of so many, with a probability", function()
    local function statuses(count)
      local list = {}
      for i = 1, count do list[i] = token().status end
      return list
    end
    fault{ nth = 2, status = 500 }
    assert.same({ 200, 500, 200 }, statuses(3))
    fault{ count = 2, status = 500 }
    assert.same({ 500, 500, 200 }, statuses(3))
    fault{ probability = 0.5, status = 500 }
    local seen = {}
    for _, status in ipairs(statuses(20)) do seen[status] = true end
    assert.same({ [200] = true, [500] = true }, seen)
  end)
end)

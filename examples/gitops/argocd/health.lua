-- Argo CD: the health of kube-dhcp's objects, from their conditions.
local health = {status = "Progressing", message = "not looked at yet"}
local status = obj.status or {}
-- An IPAllocation has no status: it is there or it is not.
if obj.kind == "IPAllocation" then
  return {status = "Healthy", message = ""}
end
if status.observedGeneration ~= obj.metadata.generation then
  return health
end
local true_ = {}
for _, condition in ipairs(status.conditions or {}) do
  true_[condition.type] = condition.status == "True"
  if condition.type == "Ready" then
    health.message = condition.reason
    if (condition.message or "") ~= "" then
      health.message = condition.reason .. ": " .. condition.message
    end
  end
end
if true_["Ready"] then
  health.status = "Healthy"
elseif true_["Stalled"] then
  -- Only a change of the object itself helps.
  health.status = "Degraded"
end
return health

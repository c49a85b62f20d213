//! Services, called through a node.

use std::time::Duration;

use reqwest::RequestBuilder;

use super::{Client, ClientError, Events, TIMEOUT};
use crate::api::{Item, NodeReply, Services};

/// A call of a service through a node.
#[derive(Clone, Debug)]
pub struct ServiceCall {
    /// The service's name.
    pub service: String,
    /// What is asked of it.
    pub endpoint: String,
    /// With what.
    pub arguments: serde_json::Value,
    /// How long it may take.
    pub deadline: Duration,
    /// Whether it may be made twice with the effect of once.
    pub idempotent: bool,
    /// The key whose owner is asked, if not any one.
    pub owner: Option<String>,
}

impl Client {
    /// Instances of services that the node knows.
    pub async fn services(&self) -> Result<Services, ClientError> {
        self.json(self.get("/v1/services").timeout(TIMEOUT)).await
    }

    /// Calls a service.
    pub async fn call(&self, call: &ServiceCall) -> Result<serde_json::Value, ClientError> {
        self.json(self.calling(call, None)?).await
    }

    /// Calls every instance of a service.
    pub async fn call_every(&self, call: &ServiceCall) -> Result<Vec<NodeReply>, ClientError> {
        self.json(self.calling(call, Some("every"))?).await
    }

    /// Calls an endpoint that answers with a stream.
    pub async fn call_items(&self, call: &ServiceCall) -> Result<Events<Item>, ClientError> {
        self.events(self.calling(call, Some("items"))?).await
    }

    fn calling(
        &self,
        call: &ServiceCall,
        how: Option<&str>,
    ) -> Result<RequestBuilder, ClientError> {
        let segments = ["v1", "services", &call.service, &call.endpoint];
        let mut url = self.path(segments.into_iter().chain(how))?;
        let mut query = url.query_pairs_mut();
        query.append_pair("deadline_seconds", &call.deadline.as_secs_f64().to_string());
        if call.idempotent {
            query.append_pair("idempotent", "true");
        }
        if let Some(owner) = &call.owner {
            query.append_pair("owner", owner);
        }
        drop(query);
        // The node answers by the deadline; whoever waits longer finds out that it is gone.
        let request = self.http.post(url).json(&call.arguments);
        Ok(request.timeout(call.deadline + TIMEOUT))
    }
}

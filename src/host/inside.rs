//! Changes of the device in a namespace: of the network's own, or of one like it in a room.
//!
//! Called by `linux` and `rooms`.

use super::netns::Netns;
use super::{Error, link, neighbour, route};
use crate::node::{Action, INNER_DEVICE};

/// Does one action that is about the device's addresses, routes or neighbours.
pub(super) async fn change(netns: &Netns, action: &Action) -> Result<(), Error> {
    if let Action::ChangeNeighbours { add, remove } = action {
        let (add, remove) = (add.clone(), remove.clone());
        let change = move || neighbour::change(&add, &remove).map_err(Error::ChangeNeighbours);
        return netns.run(change).await?;
    }
    let handle = netns.connect().await?;
    let device = link::get(&handle, INNER_DEVICE).await?;
    let index = device.ok_or_else(|| Error::NoLink(INNER_DEVICE.into()))?.index;
    match action {
        Action::AddAddress(net) => route::add_address(&handle, index, *net).await,
        Action::RemoveAddress(net) => route::remove_address(&handle, index, *net).await,
        Action::SetGateway(family, gateway) => {
            let subnets = route::addresses(&handle, index).await?;
            route::set_gateway(&handle, index, &subnets, *family, *gateway).await
        }
        _ => Ok(()),
    }
}
